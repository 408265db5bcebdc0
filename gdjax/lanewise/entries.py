"""A small array as its entries, each a scalar of its own."""

from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

MOST_ENTRIES = 16  # beyond, a scalar for each costs more compile time than it saves run time


@jax.tree_util.register_pytree_node_class
class Entries:
    """An array as a numpy array of jax scalars; each is a leaf of its own."""

    def __init__(self, scalars: np.ndarray) -> None:
        self.scalars = scalars

    def tree_flatten(self) -> tuple[list[Any], tuple[int, ...]]:
        """Return the scalars in C order, and the shape."""
        return list(self.scalars.flat), self.scalars.shape

    @classmethod
    def tree_unflatten(cls, shape: tuple[int, ...], children: Sequence[Any]) -> "Entries":
        """Return the array of these scalars."""
        scalars = np.empty(len(children), object)
        for i, child in enumerate(children):  # numpy would look into a whole list of them
            scalars[i] = child
        return cls(scalars.reshape(shape))


def is_small(aval: Any) -> bool:
    """Return whether an array is kept as its entries."""
    dtype = getattr(aval, "dtype", None)
    if dtype is None or jnp.issubdtype(dtype, jax.dtypes.extended):
        return False
    return 0 < prod(aval.shape) <= MOST_ENTRIES


def are_small(avals: Sequence[Any], most: int) -> bool:
    """Return whether each of some arrays is kept as its entries, and all have so many at most."""
    return all(map(is_small, avals)) and sum(prod(aval.shape) for aval in avals) <= most


def entries(x: Any, aval: Any) -> np.ndarray:
    """Return the entries of an array, an object array of its shape."""
    if isinstance(x, Entries):
        return x.scalars
    scalars = np.empty(aval.shape, object)
    for index in np.ndindex(aval.shape):
        scalars[index] = _entry(x, index)
    return scalars


def _entry(x: Any, index: tuple[int, ...]) -> Any:
    if not index:
        return x
    if isinstance(x, np.ndarray):
        return x[index]
    for i in index:
        x = lax.index_in_dim(x, i, 0, keepdims=False)
    return x


def whole(x: Any) -> Any:
    """Return a jax value: an array of its entries."""
    if not isinstance(x, Entries):
        return x
    scalars = x.scalars
    if scalars.ndim == 0:
        return scalars.item()
    return jnp.stack([jnp.asarray(s) for s in scalars.ravel()]).reshape(scalars.shape)
