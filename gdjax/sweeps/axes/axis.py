"""What every axis of a sweep is: named dimensions, their coordinates, and a value for each lane."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdjax.trees import PyTree


@dataclass(frozen=True, eq=False)
class Axis:
    """An axis with its name: one dimension, or several for a grid.

    Attributes:
      dims: the names of the dimensions.
      shape: their lengths.
      coords: for each coordinate its dimension and its values [length of the dimension].
      take: function from lane numbers within the axis, an int array [n] in C order, to the values
        of these lanes, a pytree of arrays [n, ...].
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coords: Mapping[str, tuple[str, np.ndarray]]
    take: Callable[[np.ndarray], PyTree]


def component_names(name: str, labels: tuple[Any, ...] | None, count: int) -> tuple[str, ...]:
    """Return the names of the components of a start: its own labels, or name_0, name_1, …."""
    return tuple(map(str, labels)) if labels else tuple(f"{name}_{i}" for i in range(count))


def assembled(labels: tuple[str, ...] | None, columns: list[np.ndarray]) -> PyTree:
    """Return columns [n] as one value a lane: a dict where they have labels, else a vector."""
    return dict(zip(labels, columns)) if labels else np.stack(columns, axis=-1)
