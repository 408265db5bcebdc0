"""Axes of given values: arrays, lists, and pytrees with a leading lane axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import checks
from gdjax.sweeps.axes.axis import Axis, rows
from gdjax.sweeps.axes.concrete import check_concrete
from gdjax.trees import PyTree, is_typed_key


@dataclass(frozen=True, eq=False)
class Paired:
    """An axis made by `paired`."""

    columns: Mapping[str, Any]

    def named(self, name: str) -> Axis:
        """Return the axis for the keyword `name` of a sweep."""
        parts = {key: values_axis(f"{name}[{key!r}]", given) for key, given in self.columns.items()}
        lengths = {key: part.shape[0] for key, part in parts.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"{name}: paired values must have one length, got {lengths}")
        (length,) = set(lengths.values())
        coords = {name: (name, np.arange(length))}
        for key, part in parts.items():
            _, values = next(iter(part.coords.values()))
            coords[key] = (name, values)
        sources = {key: part.source for key, part in parts.items()}
        return Axis((name,), (length,), coords, sources, taken_rows)


def paired(**columns: Any) -> Paired:
    """Return an axis whose values go together: lane i gets the i-th of each.

    Args:
      **columns: arrays, lists or pytrees of arrays, as an axis of `gdjax.sweep`, of one length.

    Returns:
      An axis for `gdjax.sweep`: one dimension named after the keyword; the lane gets a dict.

    Raises:
      ValueError: there is nothing to pair; the sweep raises if the lengths differ.

    >>> import gdjax, optax
    >>> runs = gdjax.sweep(
    ...     lambda rates: gdjax.Descent(lambda w: w**2, 1.0,
    ...                                 optax.sgd(rates["learning_rate"], rates["momentum"])),
    ...     rates=gdjax.paired(learning_rate=[0.1, 0.2], momentum=[0.9, 0.5]))
    >>> runs.dims, runs.shape, runs.coords["momentum"].tolist()
    (('rates',), (2,), [0.8999999761581421, 0.5])
    """
    if not columns:
        raise ValueError("paired: expected at least one keyword, got none")
    return Paired(columns)


def values_axis(name: str, given: Any) -> Axis:
    """Return an axis over an array, a list of values, or a pytree of arrays, else raise.

    Raises:
      TypeError: a leaf is not an array of numbers or keys, or has no lane axis.
      ValueError: the axis is empty, its leaves have different lengths, or a value is out of the
        range of its dtype in JAX.
    """
    tree = _stacked(name, given)
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    if not leaves:
        raise ValueError(f"{name}: an axis needs at least one value, got {given!r}")
    for path, leaf in leaves:
        if np.ndim(leaf) == 0:
            raise TypeError(
                f"{name}{jax.tree_util.keystr(path)}: expected an array with one value a lane, "
                f"got the scalar {leaf!r}; what is not swept belongs into the lane function"
            )
    lengths = {f"{name}{jax.tree_util.keystr(path)}": len(leaf) for path, leaf in leaves}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"{name}: leaves must have the same number of lanes, got {lengths}")
    (length,) = set(lengths.values())
    if length == 0:
        raise ValueError(f"{name}: an axis needs at least one value, got length 0")

    only = leaves[0][1]
    plain = isinstance(only, np.ndarray) and only.ndim == 1 and len(leaves) == 1
    values = only if plain and not leaves[0][0] else np.arange(length)
    return Axis(
        (name,),
        (length,),
        {name: (name, values)},
        tree,
        taken_rows,
    )


def taken_rows(source: PyTree, place: Sequence[Any]) -> PyTree:
    """Return the rows of every leaf at a place along the only dimension."""
    return jax.tree.map(lambda leaf: rows(leaf, place[0]), source)


def _stacked(name: str, given: Any) -> PyTree:
    """Return the values as a pytree of arrays with a leading lane axis."""
    scalars = isinstance(given, tuple) and all(np.ndim(x) == 0 for x in jax.tree.leaves(given))
    if not isinstance(given, list) and not scalars:
        return jax.tree_util.tree_map_with_path(lambda path, x: _as_array(name, path, x), given)
    lanes = [
        jax.tree_util.tree_map_with_path(lambda path, x: _as_array(name, path, x), value)
        for value in given
    ]
    if not lanes:
        raise ValueError(f"{name}: an axis needs at least one value, got {given!r}")
    try:
        stacked = jax.tree.map(lambda *leaves: _stack(leaves), *lanes)
    except ValueError as error:
        raise ValueError(
            f"{name}: the values of a list must all have one structure and shape; {error}"
        ) from error
    # Once more, as numpy makes float64 of an int32 beside a float32.
    return jax.tree_util.tree_map_with_path(lambda path, x: _as_array(name, path, x), stacked)


def _stack(leaves: tuple) -> Any:
    if isinstance(leaves[0], np.ndarray):
        return np.stack(leaves)
    return jnp.stack(leaves)


def _as_array(name: str, path: tuple, leaf: Any) -> Any:
    """Return a leaf as a numpy array in jax's dtype; random keys stay with jax."""
    where = f"{name}{jax.tree_util.keystr(path)}"
    check_concrete(f"{where}: got a traced value", leaf)
    if is_typed_key(leaf):
        return leaf
    array = np.asarray(leaf)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise TypeError(f"{where}: expected an array of numbers, got {leaf!r}")
    return checks.canonical_array(where, array)
