"""Lanes that are not kept, but reduced as they end."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from threading import Lock
from typing import Any

import jax
import numpy as np

from gdjax.descent import Descent
from gdjax.lanewise import is_small
from gdjax.reduce import Reducer
from gdjax.sweeps.packed import Packing
from gdjax.sweeps.traced_lane import TracedLane
from gdjax.sweeps.turns import LaneState, Outcome
from gdjax.trees import PyTree


@dataclass(frozen=True)
class Reducers:
    """A pytree of reducers, known by its value: programs are found again by it."""

    leaves: tuple[Reducer, ...]
    structure: Any

    def __call__(self, _: Descent, outcome: Outcome, __: LaneState) -> tuple[PyTree, ...]:
        """Return what each reducer sees of a lane."""
        return tuple(reducer.of(outcome) for reducer in self.leaves)


def checked_reducers(reduce: Any) -> Reducers:
    """Return the reducers of a pytree.

    Raises:
      TypeError: a leaf is no reducer.
    """
    leaves, structure = jax.tree.flatten(reduce, is_leaf=lambda x: isinstance(x, Reducer))
    for leaf in leaves or [reduce]:
        if not isinstance(leaf, Reducer):
            raise TypeError(f"reduce: expected reducers of gdjax.reduce, got {leaf!r}")
    return Reducers(tuple(leaves), structure)


class Reduced:
    """A collector that keeps what reducers make of the lanes."""

    def __init__(self, reducers: Reducers, traced: TracedLane, packing: Packing) -> None:
        """Take the reducers, the lane, and how what they see of it is packed."""
        self.reducers, self.packing, self.lane = reducers, packing, traced.kept_shapes
        self.entrywise = traced.entrywise
        self.memories = [r.begin(seen) for r, seen in zip(reducers.leaves, self.lane)]
        self.lock = Lock()

    def take_lanes(self, place: np.ndarray, arrays: list[np.ndarray]) -> None:
        """Take lanes, as they are packed, wherever they are."""
        if not place.shape[1]:
            return  # as reducers may need one lane at least
        leaves = iter(self.packing.leaves_of(arrays))
        seen = jax.tree.map(lambda leaf: self._joined(leaf, leaves), self.lane)
        with self.lock:
            self.memories = [
                reducer.add(memory, lanes)
                for reducer, memory, lanes in zip(self.reducers.leaves, self.memories, seen)
            ]

    def finished(self) -> PyTree:
        """Return the results."""
        results = [r.finish(m) for r, m in zip(self.reducers.leaves, self.memories)]
        return jax.tree.unflatten(self.reducers.structure, results)

    def _joined(self, lane: Any, leaves: Iterator[np.ndarray]) -> np.ndarray:
        """Return the next leaf [lanes, ...], joined of its entries where it is packed as such."""
        if not self.entrywise or not lane.shape or not is_small(lane):
            return next(leaves)
        entries = [next(leaves) for _ in range(prod(lane.shape))]
        return np.stack(entries, axis=-1).reshape(-1, *lane.shape)
