"""What a sweep makes of all its lanes, where it does not keep each: `gdjax.sweep(..., reduce=...)`.

A reducer sees a function of each lane's outcome, which is computed where the lane is; a sweep takes
a reducer, or any pytree of them: a dict gives each its name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gdjax import checks
from gdjax.trees import PyTree

__all__ = ["Reducer", "counts", "maximum", "mean", "minimum", "total"]

Of = Callable[[Any], PyTree]


class Reducer:
    """Something to make of all lanes: made by `counts`, `total`, `mean`, `minimum` or `maximum`.

    Reducers of equal functions are equal, so building one again compiles nothing again.
    """

    of: Of

    def begin(self, lane: PyTree) -> PyTree:
        """Return the memory before the first lane; `lane` has the shapes of what `of` returns."""
        raise NotImplementedError

    def add(self, memory: PyTree, lanes: PyTree) -> PyTree:
        """Return the memory after more lanes: numpy arrays [n, ...] of what `of` returns."""
        raise NotImplementedError

    def finish(self, memory: PyTree) -> PyTree:
        """Return the result."""
        return memory


def counts(of: Of, length: int) -> Reducer:
    """Count the lanes by a whole number that each has.

    Args:
      of: function of a lane's outcome, which has `params`, `loss`, `grad_norm`, `steps`, `status`
        and `record`, that returns a whole number; one outside of `0 … length - 1` is not counted.
      length: how many numbers there are, at least 1.

    Returns:
      A reducer; its result is an int64 array [length].

    Raises:
      TypeError: `of` is no function, or `length` not a whole number.
      ValueError: `length` is below 1.

    >>> import gdjax, optax
    >>> lane = lambda start: gdjax.Descent(lambda w: (w**2 - 1) ** 2, start, optax.sgd(0.01))
    >>> right = gdjax.reduce.counts(lambda outcome: outcome.params > 0, 2)
    >>> gdjax.sweep(lane, start=[-2.0, -1.0, 0.5], reduce=right).tolist()
    [2, 1]
    """
    return _Counts(checks.function("of", of), checks.whole_number("length", length, least=1))


def total(of: Of) -> Reducer:
    """Sum a function of each lane's outcome.

    Args:
      of: function of a lane's outcome that returns any pytree of arrays of numbers.

    Returns:
      A reducer; its result is shaped as what `of` returns, in float64, complex128 or int64.

    Raises:
      TypeError: `of` is no function.

    >>> import gdjax, optax
    >>> lane = lambda start: gdjax.Descent(lambda w: w**2, start, optax.sgd(0.5))
    >>> int(gdjax.sweep(lane, start=[-2.0, 0.0, 1.0], reduce=gdjax.reduce.total(lambda o: o.steps)))
    2
    """
    return _Total(checks.function("of", of))


def mean(of: Of) -> Reducer:
    """Average a function of each lane's outcome.

    Args:
      of: function of a lane's outcome that returns any pytree of arrays of numbers.

    Returns:
      A reducer; its result is shaped as what `of` returns, in float64 or complex128.

    Raises:
      TypeError: `of` is no function.

    >>> import gdjax, optax
    >>> lane = lambda start: gdjax.Descent(lambda w: w**2, start, optax.sgd(0.5))
    >>> mean_steps = gdjax.reduce.mean(lambda outcome: outcome.steps)
    >>> float(gdjax.sweep(lane, start=[-2.0, 0.0, 1.0, 2.0], reduce=mean_steps))
    0.75
    """
    return _Mean(checks.function("of", of))


def minimum(of: Of) -> Reducer:
    """Keep the least value, entry by entry, of a function of each lane's outcome.

    Args:
      of: function of a lane's outcome that returns any pytree of arrays of real numbers.

    Returns:
      A reducer; its result has the shapes and dtypes of what `of` returns. It is NaN where the
      value of any lane is.

    Raises:
      TypeError: `of` is no function.

    >>> import gdjax, optax
    >>> lane = lambda start: gdjax.Descent(lambda w: w**2, start, optax.sgd(0.1), max_steps=0)
    >>> best = gdjax.reduce.minimum(lambda outcome: outcome.loss)
    >>> float(gdjax.sweep(lane, start=[-2.0, 0.5, 1.0], reduce=best))
    0.25
    """
    return _Extreme(checks.function("of", of), np.minimum)


def maximum(of: Of) -> Reducer:
    """Keep the greatest value, entry by entry, of a function of each lane's outcome.

    Args:
      of: function of a lane's outcome that returns any pytree of arrays of real numbers.

    Returns:
      A reducer; its result has the shapes and dtypes of what `of` returns. It is NaN where the
      value of any lane is.

    Raises:
      TypeError: `of` is no function.

    >>> import gdjax, optax
    >>> lane = lambda start: gdjax.Descent(lambda w: w**2, start, optax.sgd(0.5))
    >>> most = gdjax.reduce.maximum(lambda outcome: outcome.steps)
    >>> int(gdjax.sweep(lane, start=[-2.0, 0.0, 1.0], reduce=most))
    1
    """
    return _Extreme(checks.function("of", of), np.maximum)


@dataclass(frozen=True)
class _Counts(Reducer):
    of: Of
    length: int

    def begin(self, lane: PyTree) -> PyTree:
        dtype, shape = getattr(lane, "dtype", None), getattr(lane, "shape", None)
        if shape != () or dtype is None or dtype.kind not in "iub":
            raise TypeError(f"of: expected it to return a whole number, it returns {lane}")
        return np.zeros(self.length, np.int64)

    def add(self, memory: PyTree, lanes: PyTree) -> PyTree:
        numbers = np.asarray(lanes, np.int64)
        numbers = numbers[(numbers >= 0) & (numbers < self.length)]
        return memory + np.bincount(numbers, minlength=self.length)


@dataclass(frozen=True)
class _Total(Reducer):
    of: Of

    def begin(self, lane: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, _summable(leaf.dtype)), lane)

    def add(self, memory: PyTree, lanes: PyTree) -> PyTree:
        return jax.tree.map(lambda m, x: m + x.sum(0, m.dtype), memory, lanes)


def _summable(dtype: Any) -> type:
    if np.issubdtype(dtype, np.complexfloating):
        return np.complex128
    return np.int64 if np.dtype(dtype).kind in "iub" else np.float64


@dataclass(frozen=True)
class _Mean(_Total):
    def begin(self, lane: PyTree) -> PyTree:
        if not jax.tree.leaves(lane):
            raise TypeError(f"of: expected it to return arrays, it returns {lane!r}")
        return super().begin(lane), 0

    def add(self, memory: PyTree, lanes: PyTree) -> PyTree:
        sums, count = memory
        return super().add(sums, lanes), count + len(jax.tree.leaves(lanes)[0])

    def finish(self, memory: PyTree) -> PyTree:
        sums, count = memory
        return jax.tree.map(lambda s: s / count, sums)


@dataclass(frozen=True)
class _Extreme(Reducer):
    of: Of
    choose: np.ufunc

    def begin(self, lane: PyTree) -> PyTree:
        for leaf in jax.tree.leaves(lane):
            if np.issubdtype(leaf.dtype, np.complexfloating):
                raise TypeError(f"of: expected it to return real numbers, it returns {leaf.dtype}")
        return None

    def add(self, memory: PyTree, lanes: PyTree) -> PyTree:
        found = jax.tree.map(self.choose.reduce, lanes)
        return found if memory is None else jax.tree.map(self.choose, memory, found)
