"""Runs from chosen starts of a grid, swept in blocks of few sizes so that few are compiled."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from gdjax import checks
from gdjax.descent import Descent
from gdjax.sweeps import Runs, sweep
from gdjax.sweeps.axes.box import Box
from gdjax.sweeps.axes.grid import Grid
from gdjax.sweeps.axes.samples import Samples
from gdjax.sweeps.engine import Work
from gdjax.sweeps.lanes import checked_lanes

SIZES = (32768, 4096, 512)  # of blocks; the last is filled up
ARRAYS = ("params", "loss", "grad_norm", "steps", "status", "record")


class Starts:
    """The starts at the centres of a grid's cells, by their codes in C order."""

    def __init__(self, problem: Callable[..., Descent], box: Box, length: int) -> None:
        """Take the lane function, and cut each side of the box into so many cells."""
        self.problem, self.name, self.labels = problem, start_name(problem), box.labels
        ranges = tuple((low, high, length) for low, high in box.bounds)
        axis = Grid(box.labels, ranges).named(self.name)
        self.dims, self.shape, self.centres = axis.dims, axis.shape, axis.source
        self.coords = {dim: values for dim, (_, values) in axis.coords.items()}

    def runs(self, codes: np.ndarray) -> Runs:
        """Return the runs from these starts, along one dimension."""
        place = np.unravel_index(codes, self.shape)
        columns = [centres[index] for centres, index in zip(self.centres, place)]
        blocks = [
            sweep(self.problem, progress=False, **self._axes(padded)) for padded in _blocks(columns)
        ]
        arrays = {name: [getattr(block, name) for block in blocks] for name in ARRAYS}
        kept = {name: _stacked(parts, len(codes)) for name, parts in arrays.items()}
        return self._of(kept, columns, Work(*map(sum, zip(*(block.work for block in blocks)))))

    def taken(self, runs: Runs, lanes: np.ndarray) -> Runs:
        """Return some of the runs."""
        kept = {name: jax.tree.map(lambda x: x[lanes], getattr(runs, name)) for name in ARRAYS}
        return self._of(kept, [column[lanes] for column in _columns(runs)], runs.work)

    def joined(self, parts: Sequence[Runs]) -> Runs:
        """Return several runs as one, one after the other."""
        kept = {name: _stacked([getattr(runs, name) for runs in parts]) for name in ARRAYS}
        columns = [np.concatenate(column) for column in zip(*map(_columns, parts))]
        return self._of(kept, columns, Work(*map(sum, zip(*(runs.work for runs in parts)))))

    def _of(self, arrays: dict[str, Any], columns: list[np.ndarray], work: Work) -> Runs:
        lanes = checked_lanes(self.problem, self._axes(columns), None)
        return Runs(**arrays, work=work, lanes=lanes)

    def _axes(self, columns: list[np.ndarray]) -> dict[str, Any]:
        return {self.name: Samples(self.labels, columns)}


def start_name(problem: Any) -> str:
    """Return the name of the only argument that a lane function needs, or raise."""
    checks.function("problem", problem)
    try:
        parameters = inspect.signature(problem).parameters.values()
    except ValueError:
        parameters = ()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [p.name for p in parameters if p.kind in named and p.default is p.empty]
    if len(needed) != 1:
        raise TypeError(
            "problem: expected a function of one argument, the start, to a gdjax.Descent; "
            f"{problem!r} needs {needed}"
        )
    if needed[0] in inspect.signature(sweep).parameters:
        raise TypeError(
            f"problem: its argument has the name of one of gdjax.sweep, {needed[0]!r}; rename it"
        )
    return needed[0]


def _blocks(columns: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Yield the columns in blocks; the last one repeats its last start to the end."""
    first, count = 0, len(columns[0])
    for size in SIZES:
        while count - first >= size or (size == SIZES[-1] and first < count):
            index = np.minimum(np.arange(first, first + size), count - 1)
            yield [column[index] for column in columns]
            first += size


def _columns(runs: Runs) -> list[np.ndarray]:
    (axis,) = runs.lanes.axes.values()
    return axis.source


def _stacked(parts: list[Any], count: int | None = None) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)
