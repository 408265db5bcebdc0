"""What every axis of a sweep is: named dimensions, their coordinates, and a value for each lane."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from gdjax.trees import PyTree, is_typed_key


class Gather(Hashable, Protocol):
    """How lanes get their values: a pure function, the same for all axes of a kind.

    It is known by its value, so that a sweep over other values of an axis compiles nothing.
    """

    def __call__(self, source: PyTree, place: Sequence[Any]) -> PyTree:
        """Return the values at an index along each dimension of the axis; both may be traced."""
        ...


@dataclass(frozen=True, eq=False)
class Axis:
    """An axis with its name: one dimension, or several for a grid.

    Attributes:
      dims: the names of the dimensions.
      shape: their lengths.
      coords: for each coordinate its dimension and its values [length of the dimension].
      source: pytree of arrays from which the values are gathered.
      gather: function of `source` and of a place, an index along each dimension.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coords: Mapping[str, tuple[str, np.ndarray]]
    source: PyTree
    gather: Gather


def rows(array: Any, index: Any) -> Any:
    """Return `array[index]` along the first axis, for an index or an array of them in bounds."""
    if isinstance(array, np.ndarray) and isinstance(index, np.ndarray):
        return array[index]
    if is_typed_key(array):
        return array[index]
    return jnp.asarray(array).at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def component_names(name: str, labels: tuple[Any, ...] | None, count: int) -> tuple[str, ...]:
    """Return the names of the components of a start: its own labels, or name_0, name_1, …."""
    return tuple(map(str, labels)) if labels else tuple(f"{name}_{i}" for i in range(count))


def assembled(labels: tuple[str, ...] | None, columns: list[Any]) -> PyTree:
    """Return columns [n] as one value a lane: a dict where they have labels, else a vector."""
    if labels:
        return dict(zip(labels, columns))
    stack = np.stack if isinstance(columns[0], np.ndarray) else jnp.stack
    return stack(columns, axis=-1)
