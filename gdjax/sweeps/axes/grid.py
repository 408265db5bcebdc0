"""A regular grid of starts, one dimension of the sweep for each of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdjax import checks
from gdjax.sweeps.axes.axis import Axis, assembled, component_names, rows
from gdjax.sweeps.axes.box import checked_bounds
from gdjax.sweeps.axes.concrete import default_float
from gdjax.trees import PyTree


@dataclass(frozen=True)
class Grid:
    """An axis made by `grid`."""

    labels: tuple[str, ...] | None
    ranges: tuple[tuple[float, float, int], ...]

    def named(self, name: str) -> Axis:
        """Return the axis for the keyword `name` of a sweep."""
        dims = component_names(name, self.labels, len(self.ranges))
        shape = tuple(n for _, _, n in self.ranges)
        centres = [
            (low + (np.arange(n) + 0.5) * ((high - low) / n)).astype(default_float())
            for low, high, n in self.ranges
        ]
        coords = {d: (d, c) for d, c in zip(dims, centres)}
        return Axis(dims, shape, coords, centres, _Cells(self.labels))


@dataclass(frozen=True)
class _Cells:
    labels: tuple[str, ...] | None

    def __call__(self, source: PyTree, place: Sequence[Any]) -> PyTree:
        return assembled(self.labels, [rows(c, i) for c, i in zip(source, place)])


def grid(*ranges: tuple[float, float, int], **named: tuple[float, float, int]) -> Grid:
    """Return an axis over the centres of a grid's cells, one dimension a range.

    A range `(low, high, n)` has its points at `low + (i + 1/2) (high - low) / n`, so that no
    start lies on the box's border, nor, for even n, on its lines of symmetry.

    Args:
      *ranges: ranges of a vector start; the lane gets an array `[len(ranges)]`, and the dimensions
        are called `start_0`, `start_1`, … after the keyword of the sweep.
      **named: ranges by name instead; the lane gets a dict of scalars, and the dimensions have
        these names.

    Returns:
      An axis for `gdjax.sweep`.

    Raises:
      TypeError: ranges are given both ways, or one is not (low, high, n).
      ValueError: there is no range, bounds are not finite or not in order, or n is below 1.

    >>> import gdjax, optax
    >>> runs = gdjax.sweep(
    ...     lambda start: gdjax.Descent(lambda p: p["x"]**2 + p["y"]**2, start, optax.sgd(0.1)),
    ...     start=gdjax.grid(x=(-1, 1, 4), y=(-2, 2, 2)))
    >>> runs.dims, runs.shape, runs.coords["x"].tolist()
    (('x', 'y'), (4, 2), [-0.75, -0.25, 0.25, 0.75])
    """
    if ranges and named:
        raise TypeError("grid: expected either positional ranges or named ones, got both")
    labels = tuple(named) or None
    given = tuple(named.values()) or ranges
    if not given:
        raise ValueError("grid: expected at least one range (low, high, n), got none")
    checked = [_checked(label, r) for label, r in zip(labels or range(len(given)), given)]
    return Grid(labels, tuple(checked))


def _checked(label: Any, given: Any) -> tuple[float, float, int]:
    name = f"grid[{label!r}]"
    if not isinstance(given, (tuple, list)) or len(given) != 3:
        raise TypeError(f"{name}: expected (low, high, n), got {given!r}")
    low, high = checked_bounds(name, *given[:2])
    return low, high, checks.whole_number(f"{name} n", given[2], least=1)
