"""Boxes: a lower and an upper bound for each component of a start."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gdjax import checks


class Box(NamedTuple):
    """A box that passed the checks; `labels` is None for a vector."""

    labels: tuple[str, ...] | None
    bounds: tuple[tuple[float, float], ...]


def checked_bounds(name: str, low: Any, high: Any) -> tuple[float, float]:
    """Return the bounds as floats, else raise naming them."""
    low = _checked_bound(f"{name} lower bound", low)
    high = _checked_bound(f"{name} upper bound", high)
    if not low < high:
        raise ValueError(f"{name}: expected lower bound < upper bound, got ({low}, {high})")
    return low, high


def _checked_bound(name: str, bound: Any) -> float:
    number = float(checks.finite_scalar(name, bound))
    checks.canonical_array(name, np.asarray(number))
    return number


def checked_box(box: Any) -> Box:
    """Return a box given as {name: (low, high)} or as a sequence of (low, high), else raise."""
    if isinstance(box, Mapping):
        labels, pairs = tuple(box), list(box.values())
    elif isinstance(box, Sequence) and not isinstance(box, str):
        labels, pairs = None, list(box)
    else:
        raise TypeError(
            f"box: expected {{name: (low, high), ...}} or [(low, high), ...], got {box!r}"
        )
    if not pairs:
        raise ValueError("box: expected at least one (low, high), got none")
    bounds = []
    for label, pair in zip(labels or range(len(pairs)), pairs):
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise TypeError(f"box[{label!r}]: expected (low, high), got {pair!r}")
        bounds.append(checked_bounds(f"box[{label!r}]", *pair))
    return Box(labels, tuple(bounds))
