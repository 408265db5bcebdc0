"""The ends of runs as rows of numbers, and how far each coordinate reaches."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.sweeps import Runs
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane, place_of
from gdjax.sweeps.threads import with_settings
from gdjax.trees import PyTree, coarsest_eps, real_columns, size, strongly_typed

NUMBERS = 2**21  # of rows that are looked at together
COLUMNS = 64  # that are sorted together
OUTSIDE = 0.05  # of the values on either side: a few strays are not what a coordinate spans

Symmetry = Callable[[PyTree], PyTree]


class Ends(NamedTuple):
    """The ends of all lanes, in canonical form where there is a symmetry."""

    params: PyTree  # leaves [lanes, ...]

    def rows(self, lanes: np.ndarray) -> np.ndarray:
        """Return the ends of some lanes as float64 [n, dim]."""
        return real_columns(self.of(lanes))

    def of(self, lanes: np.ndarray) -> PyTree:
        """Return the parameters of some lanes."""
        return jax.tree.map(lambda leaf: leaf[lanes], self.params)

    @property
    def dim(self) -> int:
        """How many real numbers an end has."""
        return sum(
            leaf[:1].size * (1 + np.iscomplexobj(leaf)) for leaf in jax.tree.leaves(self.params)
        )


def ends_of(runs: Runs, symmetry: Symmetry | None) -> Ends:
    """Return the ends of all lanes of the runs."""
    flat = ends_in_line(runs, slice(None))
    return Ends(flat if symmetry is None else canonical_params(flat, symmetry))


def ends_in_line(runs: Runs, lanes: np.ndarray | slice) -> PyTree:
    """Return the ends of some lanes as they are, leaves [n, ...]."""
    rank = len(runs.shape)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[rank:])[lanes], runs.params)


def parts(count: int, dim: int) -> Iterator[slice]:
    """Cut rows [count, dim] into slices that take little memory."""
    step = max(1, NUMBERS // dim)
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


def spread_of(
    runs: Runs, ends: Ends, lanes: np.ndarray, symmetry: Symmetry | None
) -> tuple[np.ndarray, float]:
    """Return how far each coordinate reaches over all starts and the ends of some lanes.

    A few strays are left out. Beside it comes how far apart, in its units, the parameters' dtype
    sets two ends that are the same.
    """
    starts = Ends(starts_in_line(runs, symmetry))
    spread, largest = np.ones(ends.dim), np.zeros(ends.dim)
    first = 0
    for before, after in zip(jax.tree.leaves(starts.params), jax.tree.leaves(ends.params)):
        for column in _columns(before, after, lanes):
            spread[first], largest[first] = _reach(column)
            first += 1
    resolution = 8 * coarsest_eps(ends.params) * np.max(largest / spread, initial=0.0)
    return spread, float(resolution)


def _columns(starts: np.ndarray, ends: np.ndarray, lanes: np.ndarray) -> Iterator[np.ndarray]:
    starts, ends = (leaf.reshape(len(leaf), -1) for leaf in (starts, ends))
    sides = ("real", "imag") if np.iscomplexobj(ends) else ("real",)
    for side in sides:
        for first in range(0, ends.shape[1], COLUMNS):
            some = slice(first, first + COLUMNS)
            begun, ended = (getattr(leaf[:, some], side) for leaf in (starts, ends))
            both = np.empty((ended.shape[1], len(begun) + len(lanes)), ended.dtype)
            both[:, : len(begun)] = begun.T
            both[:, len(begun) :] = ended[lanes].T
            yield from both


def _reach(values: np.ndarray) -> tuple[float, float]:
    """Return how far values span, and the largest of them."""
    finite = np.isfinite(values)
    if not finite.all():
        values = values[finite]
    if not len(values):
        return 1.0, 0.0
    stray = int(OUTSIDE * (len(values) - 1))
    inner = stray, len(values) - 1 - stray
    low, high = (float(x) for x in np.partition(values, inner)[[*inner]])
    least, most = float(np.min(values)), float(np.max(values))
    largest = max(abs(least), abs(most))
    return next((span for span in (high - low, most - least, largest) if span > 0), 1.0), largest


def starts_in_line(runs: Runs, symmetry: Symmetry | None = None) -> PyTree:
    """Return the starts of all lanes, leaves [lanes, ...]."""
    lanes = runs.lanes
    each = min(lanes.count, 2**18)
    program = _starts_program(lanes.lane, lanes.shape, each)

    def some(first: int) -> PyTree:
        return jax.tree.map(np.asarray, program(lanes.sources, lanes.key, np.int32(first)))

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(with_settings(some), range(0, lanes.count, each)))
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: lanes.count], *found)
    return whole if symmetry is None else canonical_params(whole, symmetry)


@lru_cache(maxsize=32)
def _starts_program(lane: Lane, shape: tuple[int, ...], each: int) -> Callable[..., PyTree]:
    def start(sources: PyTree, key: jax.Array | None, number: jax.Array) -> PyTree:
        place = place_of(number, shape)
        return strongly_typed(lane.descent(lane.values(sources, place), number, key).params)

    @ConstantsApart
    def starts(sources: PyTree, key: jax.Array | None, first: jax.Array) -> PyTree:
        last = np.prod(shape, dtype=np.int64) - 1
        numbers = jnp.minimum(first + jnp.arange(each, dtype=jnp.int32), np.int32(last))
        return jax.vmap(lambda number: start(sources, key, number))(numbers)

    return starts


def canonical_params(params: PyTree, symmetry: Symmetry) -> PyTree:
    """Return parameters [lanes, ...] in canonical form."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params)
    of_one = jax.eval_shape(symmetry, one)
    if jax.tree.structure(of_one) != jax.tree.structure(one) or any(
        (a.shape, a.dtype) != (b.shape, b.dtype)
        for a, b in zip(jax.tree.leaves(of_one), jax.tree.leaves(one))
    ):
        raise TypeError(f"symmetry: expected it to return parameters as {one}, it returns {of_one}")
    program = jax.jit(jax.vmap(symmetry))
    count = len(jax.tree.leaves(params)[0])
    found = [
        jax.tree.map(np.asarray, program(jax.tree.map(lambda leaf, p=part: leaf[p], params)))
        for part in parts(count, size(params) // count)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


def tree_of(rows: np.ndarray, like: PyTree) -> PyTree:
    """Return rows [n, dim] as parameters with the structure of `like`, leaves [lanes, ...].

    They keep the precision of the rows.
    """
    leaves, structure = jax.tree.flatten(like)
    found, first = [], 0
    for leaf in leaves:
        width = leaf[:1].size
        block = rows[:, first : first + width]
        first += width
        if np.iscomplexobj(leaf):
            block = block + 1j * rows[:, first : first + width]
            first += width
        found.append(block.reshape(len(rows), *leaf.shape[1:]))
    return jax.tree.unflatten(structure, found)
