"""Starts on a line or a plane through any pytree of parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gdjax.sweeps.axes.axis import Axis, rows
from gdjax.trees import PyTree


@dataclass(frozen=True, eq=False)
class Slice:
    """An axis of starts `centre + u * directions[0] + v * directions[1]`, or without the last.

    Attributes:
      centre: pytree of floating or complex arrays.
      directions: a pytree like the centre for each dimension of the slice.
      coordinates: [n] for each, how far along the direction the starts lie.
    """

    centre: PyTree
    directions: tuple[PyTree, ...]
    coordinates: tuple[np.ndarray, ...]

    def named(self, name: str) -> Axis:
        """Return the axis for the keyword `name` of a sweep."""
        dims = tuple(f"{name}_{letter}" for letter, _ in zip("uv", self.directions))
        coords = {dim: (dim, values) for dim, values in zip(dims, self.coordinates)}
        shape = tuple(map(len, self.coordinates))
        return Axis(dims, shape, coords, (self.centre, self.directions, self.coordinates), _along)


def _along(source: PyTree, place: Sequence[Any]) -> PyTree:
    """Return the parameters at an index along each dimension, or at many."""
    centre, directions, coordinates = source
    distances = [rows(values, index) for values, index in zip(coordinates, place)]

    def at(leaf: Any, *ways: Any) -> Any:
        lanes = distances[0].ndim
        point = leaf.reshape((1,) * lanes + leaf.shape)
        for distance, way in zip(distances, ways):
            length = distance.astype(way.real.dtype).reshape(distance.shape + (1,) * way.ndim)
            point = point + length * way.reshape((1,) * lanes + way.shape)
        return point

    return jax.tree.map(at, centre, *directions)
