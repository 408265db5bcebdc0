"""The data of batches, met at the door."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import checks
from gdjax.trees import PyTree, strongly_typed


def checked_data(data: PyTree) -> PyTree:
    """Return the data as arrays in the dtypes of JAX, or raise naming the leaf."""
    for name, node in named_leaves("data", data, _is_sparse):
        if _is_sparse(node):  # as a pytree it has leaves, whose rows are no examples
            raise TypeError(f"{name}: expected an array with rows, got {type(node).__name__}")
    data = jax.tree.map(as_array, data)
    named = named_leaves("data", data)
    check_examples(named)
    for name, leaf in named:
        if checks.is_concrete(leaf):
            check_rows(name, leaf)
    return jax.tree.map(_on_device, in_range("data", data))


def named_leaves(
    name: str, data: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> list[tuple[str, Any]]:
    """Return the leaves with their names, or raise where there is none."""
    leaves = jax.tree_util.tree_leaves_with_path(data, is_leaf)
    if not leaves:
        raise ValueError(f"{name}: there are no arrays, got {data!r}")
    return [(f"{name}{jax.tree_util.keystr(path)}", leaf) for path, leaf in leaves]


def _is_sparse(node: Any) -> bool:
    return hasattr(node, "todense")


def as_array(leaf: Any) -> jax.Array | np.ndarray:
    """Return the leaf as it is if it is an array of a byte order that JAX has, else as one."""
    if isinstance(leaf, jax.Array):
        return leaf
    array = np.asanyarray(leaf)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def check_examples(named: list[tuple[str, Any]]) -> None:
    """Raise unless all leaves are arrays of numbers with the same number of examples."""
    for name, leaf in named:
        check_numbers(name, leaf.dtype)
        if np.ndim(leaf) == 0:
            raise TypeError(
                f"{name}: expected an array with a leading example axis, got {leaf!r}; "
                "of a list, make an array first"
            )
    check_lengths(named)


def check_numbers(name: str, dtype: Any) -> None:
    """Raise unless the dtype is one of numbers that JAX has."""
    # To numpy, time spans are whole numbers; random keys are no dtype of its own.
    of_keys = jnp.issubdtype(dtype, jax.dtypes.extended)
    if of_keys or not jnp.isdtype(np.dtype(dtype).newbyteorder("="), checks.NUMBERS):
        raise TypeError(f"{name}: expected an array of numbers, got {dtype}")


def check_lengths(named: list[tuple[str, Any]]) -> None:
    """Raise unless all leaves have the same number of examples, at least one."""
    counts = [_count(name, leaf) for name, leaf in named]
    (first_name, _), *_ = named
    if not counts[0]:
        raise ValueError(f"{first_name}: there are no examples")
    for (name, _), count in zip(named, counts):
        if count != counts[0]:
            raise ValueError(
                f"{name}: expected {counts[0]} examples, as in {first_name}, got {count}"
            )


def _count(name: str, leaf: Any) -> int:
    try:
        return len(leaf)
    except TypeError as error:  # a sparse array says that it has none
        raise TypeError(f"{name}: expected an array with rows, got {leaf!r}: {error}") from error


def check_rows(name: str, leaf: Any, rows: Any = None) -> None:
    """Raise where a number is NaN or masked, naming its row, or the one that `rows` has there."""
    masked = np.ma.getmask(leaf)
    if np.any(masked):
        _raise_at(name, np.asarray(masked), rows, "masked")
    if jnp.issubdtype(leaf.dtype, jnp.inexact):
        bad = np.isnan(leaf)
        if np.any(bad):
            _raise_at(name, np.asarray(bad), rows, "NaN")


def _raise_at(name: str, bad: np.ndarray, rows: Any, what: str) -> None:
    row = int(bad.reshape(len(bad), -1).any(axis=1).argmax())
    raise ValueError(f"{name}: row {row if rows is None else rows[row]} is {what}")


def in_range(name: str, tree: PyTree) -> PyTree:
    """Return the arrays in the dtypes of JAX; a number that has no place there is named."""

    def cast(path: Any, leaf: Any) -> Any:
        if isinstance(leaf, jax.Array):
            return strongly_typed(leaf)
        return checks.canonical_array(f"{name}{jax.tree_util.keystr(path)}", leaf)

    return jax.tree_util.tree_map_with_path(cast, tree)


def _on_device(leaf: Any) -> jax.Array:
    """Return the leaf as a jax array, made once, here, and not by every call of a program."""
    if not checks.is_concrete(leaf):
        return leaf
    with jax.ensure_compile_time_eval():
        return jnp.asarray(leaf)
