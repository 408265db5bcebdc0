"""The data of batches, met at the door."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import checks
from gdjax.trees import PyTree, strongly_typed


def checked_data(data: PyTree) -> PyTree:
    """Return the data as arrays in the dtypes of JAX, or raise naming the leaf."""
    data = jax.tree.map(_as_array, data)
    named = named_leaves("data", data)
    for name, leaf in named:
        check_numbers(name, leaf.dtype)
        if np.ndim(leaf) == 0:
            raise TypeError(
                f"{name}: expected an array with a leading example axis, got {leaf!r}; "
                "of a list, make an array first"
            )
    check_lengths(named)
    for name, leaf in named:
        if checks.is_concrete(leaf) and (row := nan_row(leaf)) is not None:
            raise ValueError(f"{name}: row {row} is NaN")
    return jax.tree.map(_on_device, strongly_typed(data))


def named_leaves(name: str, data: PyTree) -> list[tuple[str, Any]]:
    """Return the leaves with their names, or raise where there is none."""
    leaves = jax.tree_util.tree_leaves_with_path(data)
    if not leaves:
        raise ValueError(f"{name}: there are no arrays, got {data!r}")
    return [(f"{name}{jax.tree_util.keystr(path)}", leaf) for path, leaf in leaves]


def check_numbers(name: str, dtype: Any) -> None:
    """Raise unless the dtype is one of numbers."""
    if not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
        raise TypeError(f"{name}: expected an array of numbers, got {dtype}")


def check_lengths(named: list[tuple[str, Any]]) -> None:
    """Raise unless all leaves have the same number of examples, at least one."""
    (first_name, first), *_ = named
    if not len(first):
        raise ValueError(f"{first_name}: there are no examples")
    for name, leaf in named:
        if len(leaf) != len(first):
            raise ValueError(
                f"{name}: expected {len(first)} examples, as in {first_name}, got {len(leaf)}"
            )


def nan_row(leaf: Any) -> int | None:
    """Return the first row in which a number is NaN."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return None
    bad = np.isnan(leaf).any(axis=tuple(range(1, np.ndim(leaf))))
    return int(bad.argmax()) if bad.any() else None


def _as_array(leaf: Any) -> jax.Array | np.ndarray:
    return leaf if isinstance(leaf, (jax.Array, np.ndarray)) else np.asarray(leaf)


def _on_device(leaf: Any) -> jax.Array:
    """Return the leaf as a jax array, made once, here, and not by every call of a program."""
    if not checks.is_concrete(leaf):
        return leaf
    with jax.ensure_compile_time_eval():
        return jnp.asarray(leaf)
