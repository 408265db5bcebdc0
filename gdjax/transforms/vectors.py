"""Pytrees as vectors of a real Euclidean space: what the transformations here share.

Numbers are in float32 or wider, whatever the leaves are in, and norms neither overflow nor
underflow, so that a loss may be scaled by any factor.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdjax.trees import PyTree, inner, max_abs, real_dtype, size


def scaled(scalar: jax.Array, tree: PyTree) -> PyTree:
    """Return the tree times a real scalar, in its own dtypes.

    >>> scaled(jnp.float32(2.0**20), jnp.float16(2.0**-10)).item()  # 2^20 does not fit float16
    1024.0
    """
    return jax.tree.map(lambda leaf: (scalar * leaf).astype(jnp.result_type(leaf)), tree)


def difference(a: PyTree, b: PyTree) -> PyTree:
    """Return `a - b`, in the dtypes of `a`."""
    return jax.tree.map(lambda x, y: (x - y).astype(jnp.result_type(x)), a, b)


class Polar(NamedTuple):
    """A vector as its length and its direction."""

    length: jax.Array  # [] real_dtype
    direction: PyTree  # of length 1, or all 0 where the vector is


def polar(tree: PyTree) -> Polar:
    """Return the length and the direction of a tree.

    >>> length, direction = polar(jnp.array([3e-30, 4e-30]))
    >>> print(length, direction)
    5e-30 [0.6 0.8]
    """
    dtype = real_dtype(tree)
    if not size(tree):  # of a group of parameters that is empty
        return Polar(jnp.zeros((), dtype), tree)
    largest = max_abs(tree).astype(dtype)
    # The inverse of the very largest numbers would be too small a one, and taken for 0.
    most = float(jnp.finfo(dtype).max) / 16
    scale = jnp.where(largest > 0, jnp.minimum(largest, most), 1)
    shrunk = jax.tree.map(lambda leaf: leaf / scale, tree)
    relative = jnp.sqrt(jnp.where(largest == 0, 1, inner(shrunk, shrunk)))
    direction = jax.tree.map(
        lambda x, leaf: (x / relative).astype(jnp.result_type(leaf)), shrunk, tree
    )
    return Polar(jnp.where(largest == 0, 0, scale * relative), direction)


def copied(tree: PyTree) -> PyTree:
    """Return a copy as arrays, so that a state may be donated together with the parameters."""
    return jax.tree.map(jnp.array, tree)


def needed(name: str, value: Any) -> Any:
    """Return what an update was called with, or raise TypeError where it was called without it."""
    if value is None:
        raise TypeError(f"{name}: the optimizer needs it, call update(…, {name}=…)")
    return value
