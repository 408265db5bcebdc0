"""Where the outcomes of lanes go."""

from typing import NamedTuple, Protocol

import jax
import numpy as np

from gdjax.lanewise import is_small
from gdjax.sweeps.boxes import Blocks, Boxes
from gdjax.sweeps.packed import Packing
from gdjax.sweeps.store import Store
from gdjax.sweeps.traced_lane import TracedLane
from gdjax.sweeps.turns import Outcome
from gdjax.trees import PyTree

MOST_BYTES_TOGETHER = 2**26  # who keeps one of the arrays keeps all
SCATTERED = 256  # lanes, each of which brings pages of a stored array into memory


class Kept(NamedTuple):
    """What a sweep keeps of a lane that is not reduced."""

    outcome: Outcome
    watched: PyTree = None  # what a diagnosis needs beside


def whole_outcome(outcome: Outcome) -> Kept:
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
        tree = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((*shape, *leaf.shape), leaf.dtype), traced.kept_shapes
        )
        self.tree: Kept = (
            together(tree)
            if store is None
            else Kept(store.arrays(tree.outcome), together(tree.watched))
        )
        leaves = jax.tree.leaves(self.tree)
        self.views = [v for leaf in leaves for v in _views(leaf, shape, traced.entrywise)]
        self.packing, self.store = packing, store

    def take_boxes(self, blocks: Blocks, run: Boxes, arrays: list[np.ndarray]) -> None:
        """Take all lanes of a run of boxes, as they are packed, in their order."""
        for view, leaf in zip(self.views, self.packing.leaves_of(arrays)):
            blocks.put(view, run, leaf)
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


def _views(leaf: np.ndarray, shape: tuple[int, ...], entrywise: bool) -> list[np.ndarray]:
    """Return a leaf as it is packed: a small one entry by entry."""
    own = jax.ShapeDtypeStruct(leaf.shape[len(shape) :], leaf.dtype)
    if not entrywise or not own.shape or not is_small(own):
        return [leaf]
    return [leaf[(..., *index)] for index in np.ndindex(own.shape)]


def together(tree: PyTree) -> PyTree:
    """Return numpy arrays of these shapes, a few MB in one piece: the system gives it in one go."""
    leaves, structure = jax.tree.flatten(tree)
    ends = np.cumsum([-(-leaf.size * leaf.dtype.itemsize // 64) * 64 for leaf in leaves])
    if not leaves or ends[-1] > MOST_BYTES_TOGETHER:
        return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)
    memory = np.empty(ends[-1], np.uint8)
    arrays = [
        np.ndarray(leaf.shape, leaf.dtype, memory, offset)
        for leaf, offset in zip(leaves, (0, *ends.tolist()))
    ]
    return jax.tree.unflatten(structure, arrays)
