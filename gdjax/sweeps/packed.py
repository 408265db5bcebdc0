"""The leaves of many lanes as few arrays: each array that crosses a program's border costs time."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.trees import PyTree


class Packing:
    """How lanes' leaves are packed, known by the shapes of one lane: scalars by their dtype.

    Packed, scalars are rows of arrays [rows, lanes], and larger leaves arrays [lanes, ...].
    """

    def __init__(self, lane: PyTree) -> None:
        """Take the shapes and dtypes of one lane, small leaves as entries."""
        self.leaves, self.structure = jax.tree.flatten(lane)
        self.rows: dict[Any, list[int]] = {}
        self.larger: list[int] = []
        for i, leaf in enumerate(self.leaves):
            if leaf.shape == ():
                self.rows.setdefault(np.dtype(leaf.dtype), []).append(i)
            else:
                self.larger.append(i)

    def shapes(self, lanes: int) -> list[jax.ShapeDtypeStruct]:
        """Return the shapes and dtypes of the arrays of so many lanes."""
        larger = (self.leaves[i] for i in self.larger)
        return [
            *(jax.ShapeDtypeStruct((len(r), lanes), dtype) for dtype, r in self.rows.items()),
            *(jax.ShapeDtypeStruct((lanes, *leaf.shape), leaf.dtype) for leaf in larger),
        ]

    def written(self, arrays: Sequence[Any], lanes: PyTree, first: Any, axis: int) -> list[Any]:
        """Return the arrays with the leaves of a tile of lanes from `first` on.

        Larger leaves have their lanes at `axis`.
        """
        leaves = jax.tree.leaves(lanes)
        written = []
        for array, rows in zip(arrays, self.rows.values()):
            for row, i in enumerate(rows):  # one by one: stacked, they would be computed again
                array = lax.dynamic_update_slice(array, leaves[i][None], (np.int32(row), first))
            written.append(array)
        for array, i in zip(arrays[len(self.rows) :], self.larger):
            tile = jnp.moveaxis(leaves[i], axis, 0)
            written.append(lax.dynamic_update_slice_in_dim(array, tile, first, 0))
        return written

    def read(self, arrays: Sequence[Any], first: Any, lanes: int, axis: int) -> PyTree:
        """Return the leaves of a tile of lanes from `first` on."""
        leaves: list[Any] = [None] * len(self.leaves)
        for array, rows in zip(arrays, self.rows.values()):
            for row, i in enumerate(rows):
                leaves[i] = lax.dynamic_slice(array, (np.int32(row), first), (1, lanes))[0]
        for array, i in zip(arrays[len(self.rows) :], self.larger):
            leaves[i] = jnp.moveaxis(lax.dynamic_slice_in_dim(array, first, lanes, 0), 0, axis)
        return jax.tree.unflatten(self.structure, leaves)

    def leaves_of(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the leaves [lanes, ...] in their order, as views."""
        leaves: list[Any] = [None] * len(self.leaves)
        for array, rows in zip(arrays, self.rows.values()):
            for row, i in enumerate(rows):
                leaves[i] = array[row]
        for array, i in zip(arrays[len(self.rows) :], self.larger):
            leaves[i] = array
        return leaves

    def packed(self, leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the arrays of leaves [lanes, ...]."""
        rows = [np.stack([leaves[i] for i in row]) for row in self.rows.values()]
        return [*rows, *(leaves[i] for i in self.larger)]

    def taken(self, arrays: Sequence[np.ndarray], lanes: Any) -> list[np.ndarray]:
        """Return the arrays of some lanes: a slice, or an array of their numbers."""
        return [
            array[:, lanes] if i < len(self.rows) else array[lanes]
            for i, array in enumerate(arrays)
        ]

    def joined(self, parts: Sequence[Sequence[np.ndarray]], lanes: int) -> list[np.ndarray]:
        """Return arrays for `lanes` lanes that begin with these parts."""
        joined = []
        for i, arrays in enumerate(zip(*parts)):
            axis = 1 if i < len(self.rows) else 0
            shape = list(arrays[0].shape)
            shape[axis] = lanes
            whole = np.zeros(shape, arrays[0].dtype)
            count = sum(array.shape[axis] for array in arrays)
            np.concatenate(arrays, axis, out=whole[:, :count] if axis else whole[:count])
            joined.append(whole)
        return joined
