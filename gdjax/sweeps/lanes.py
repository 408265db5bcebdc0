"""The numbered lanes of a sweep: a function to a descent, and the values it is called with."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import jax
import numpy as np
from jax import lax

from gdjax import checks
from gdjax.descent import Descent
from gdjax.descent.description import INT32_MAX
from gdjax.sweeps.axes import Axis, named_axes
from gdjax.sweeps.axes.axis import Gather
from gdjax.trees import PyTree


@dataclass(frozen=True)
class Lane:
    """A lane function with how it is called: what the compiled programs are kept by."""

    function: Callable[..., Descent]
    takes_key: bool
    gathers: tuple[tuple[str, int, Gather], ...]  # for each axis its name and its dimensions
    is_watched: bool = False  # whether it remembers what its diagnosis needs

    @property
    def dims(self) -> int:
        """The number of dimensions of the sweep."""
        return sum(dims for _, dims, _ in self.gathers)

    def values(self, sources: Mapping[str, PyTree], place: Sequence[Any]) -> dict[str, PyTree]:
        """Return what the function gets at a place, an index along each dimension."""
        values, first = {}, 0
        for name, dims, gather in self.gathers:
            values[name] = gather(sources[name], place[first : first + dims])
            first += dims
        return values

    def descent(self, values: Mapping[str, Any], number: Any, key: jax.Array | None) -> Descent:
        """Return the descent of a lane, whose key is `fold_in(key, number)`; it may be traced."""
        own_key = None if key is None else jax.random.fold_in(key, number)
        d = self.function(**values, key=own_key) if self.takes_key else self.function(**values)
        if not isinstance(d, Descent):
            raise TypeError(f"lane: expected it to return a gdjax.Descent, it returns {d!r}")
        return replace(d, key=own_key) if d.key is None else d


@dataclass(frozen=True, eq=False)
class Lanes:
    """All lanes of a sweep, numbered in C order over the product of the axes."""

    lane: Lane
    axes: Mapping[str, Axis]
    key: jax.Array | None

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of all dimensions."""
        return tuple(dim for axis in self.axes.values() for dim in axis.dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of all dimensions."""
        return tuple(length for axis in self.axes.values() for length in axis.shape)

    @property
    def count(self) -> int:
        """The number of lanes."""
        return prod(self.shape)

    def values(self, numbers: np.ndarray) -> dict[str, PyTree]:
        """Return what the lane function gets for lane numbers [n]: leaves [n, ...] by keyword."""
        return self.lane.values(self.sources, place_of(numbers, self.shape))

    @property
    def sources(self) -> dict[str, PyTree]:
        """The arrays that the values are gathered from, by keyword."""
        return {name: axis.source for name, axis in self.axes.items()}

    def descent(self, number: int) -> Descent:
        """Return the descent of one lane, to be run alone."""
        values = jax.tree.map(lambda leaf: leaf[0], self.values(np.array([number])))
        return self.lane.descent(values, number, self.key)


def place_of(number: Any, shape: Sequence[int]) -> tuple[Any, ...]:
    """Return the place along each dimension of lanes of these numbers, which may be traced.

    >>> [int(index) for index in place_of(np.array(5), (2, 3))]
    [1, 2]
    """
    if not isinstance(number, jax.Array):
        return np.unravel_index(number, shape)
    place = []
    for length in reversed(shape):  # without the signs that jnp.unravel_index allows for
        length = np.asarray(length, number.dtype)
        place.append(lax.rem(number, length))
        number = lax.div(number, length)
    return tuple(place[::-1])


def checked_lanes(function: Any, given_axes: dict[str, Any], key: jax.Array | None) -> Lanes:
    """Return the lanes of a sweep, or raise naming what does not fit; nothing is compiled."""
    checks.function("lane", function)
    if not given_axes:
        raise ValueError("sweep: expected at least one axis as a keyword, got none")
    parameters = _parameters(function)
    takes_key = "key" in parameters and key is not None
    _check_keywords(parameters, [*given_axes, *(["key"] if takes_key else [])])
    axes = named_axes(given_axes)
    gathers = tuple((name, len(axis.dims), axis.gather) for name, axis in axes.items())
    lanes = Lanes(Lane(function, takes_key, gathers), axes, key)
    if lanes.count > INT32_MAX:
        raise ValueError(f"sweep: expected at most {INT32_MAX} lanes, got {lanes.count}")
    return lanes


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except ValueError:
        raise TypeError(
            f"lane: {function!r} does not say which arguments it takes; wrap it in a function "
            "that does"
        ) from None


def _check_keywords(parameters: Mapping[str, inspect.Parameter], given: list[str]) -> None:
    kinds = inspect.Parameter
    takes_any = any(p.kind is kinds.VAR_KEYWORD for p in parameters.values())
    for name, p in parameters.items():
        asked = p.default is kinds.empty or (name in given and not takes_any)
        if p.kind is kinds.POSITIONAL_ONLY and asked:
            raise TypeError(
                f"{name}: the lane function takes it by position only, and sweep gives it by "
                "keyword; leave out the / in its signature"
            )
    by_name = {
        name: p
        for name, p in parameters.items()
        if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    }
    unknown = [name for name in given if name not in by_name]
    if unknown and not takes_any:
        raise TypeError(
            f"{unknown[0]}: the lane function does not take this axis; it takes {list(by_name)}"
        )
    lacking = [
        name
        for name, p in parameters.items()
        if p.default is kinds.empty
        and p.kind not in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
        and name not in given
    ]
    if lacking:
        hint = "give sweep a key" if lacking[0] == "key" else "give sweep an axis of this name"
        raise TypeError(f"{lacking[0]}: the lane function needs it; {hint}")
