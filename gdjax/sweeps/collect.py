"""Where the outcomes of lanes go."""

from math import prod
from typing import NamedTuple, Protocol

import jax
import numpy as np

from gdjax.descent import Descent
from gdjax.lanewise import is_small
from gdjax.sweeps.boxes import Blocks, Boxes
from gdjax.sweeps.packed import Packing
from gdjax.sweeps.store import Store
from gdjax.sweeps.traced_lane import TracedLane
from gdjax.sweeps.turns import LaneState, Outcome
from gdjax.trees import PyTree

MOST_BYTES_TOGETHER = 2**26  # who keeps one of the arrays keeps all
SCATTERED = 256  # lanes, each of which brings pages of a stored array into memory


class Kept(NamedTuple):
    """What a sweep keeps of a lane that is not reduced."""

    outcome: Outcome
    watched: PyTree = None  # what a diagnosis needs beside


def whole_outcome(_: Descent, outcome: Outcome, __: LaneState) -> Kept:
    """Return all of an outcome."""
    return Kept(outcome)


class Collector(Protocol):
    """What the engine gives the outcomes of lanes to, from several threads at once."""

    def take_lanes(self, place: np.ndarray, arrays: list[np.ndarray]) -> None:
        """Take lanes at places [dims, n], as they are packed."""
        ...


class Arrays:
    """A collector that keeps what is kept of each lane in arrays of the sweep's shape."""

    def __init__(
        self, shape: tuple[int, ...], traced: TracedLane, packing: Packing, store: Store | None
    ) -> None:
        """Take the shape of the sweep, the lane, how it is packed, and where to store."""
        shapes = traced.kept_shapes
        self.tree: Kept = (
            together(shapes, shape)
            if store is None
            else Kept(store.arrays(shapes.outcome, shape), together(shapes.watched, shape))
        )
        self.views = [
            view
            for whole, own in zip(*map(jax.tree.leaves, (self.tree, shapes)))
            for view in _views(whole, own, traced.entrywise)
        ]
        self.packing, self.store = packing, store

    def take_boxes(self, blocks: Blocks, run: Boxes, arrays: list[np.ndarray]) -> None:
        """Take all lanes of a run of boxes, as they are packed, in their order."""
        blocks.put(self.views, run, self.packing.leaves_of(arrays))
        if self.store is not None:
            self.store.written(sum(array.nbytes for array in arrays))

    def take_lanes(self, place: np.ndarray, arrays: list[np.ndarray]) -> None:
        """Take lanes at places [dims, n], as they are packed."""
        leaves = self.packing.leaves_of(arrays)
        each = place.shape[1] if self.store is None else SCATTERED
        for first in range(0, place.shape[1], max(each, 1)):
            lanes = slice(first, first + each)
            for view, leaf in zip(self.views, leaves):
                view[tuple(place[:, lanes])] = leaf[lanes]
            if self.store is not None:
                self.store.release()


def _views(whole: np.ndarray, own: jax.ShapeDtypeStruct, entrywise: bool) -> list[np.ndarray]:
    """Return the leaf of all lanes as that of one is packed: a small one entry by entry."""
    if not entrywise or not own.shape or not is_small(own):
        return [whole]
    return [whole[(..., *index)] for index in np.ndindex(own.shape)]


def together(tree: PyTree, shape: tuple[int, ...]) -> PyTree:
    """Return numpy arrays [*shape, ...], a few MB in one piece: the system gives it in one go."""
    leaves, structure = jax.tree.flatten(tree)
    lanes, ends = prod(shape), [0]
    for leaf in leaves:
        ends.append(ends[-1] + -(-lanes * leaf.size * leaf.dtype.itemsize // 64) * 64)
    if ends[-1] > MOST_BYTES_TOGETHER:
        return jax.tree.map(lambda leaf: np.empty((*shape, *leaf.shape), leaf.dtype), tree)
    memory = np.empty(ends[-1], np.uint8)
    arrays = [
        np.ndarray((*shape, *leaf.shape), leaf.dtype, memory, first)
        for leaf, first in zip(leaves, ends)
    ]
    return jax.tree.unflatten(structure, arrays)
