"""Conditions for noisy runs: what another condition sees is averaged, or of held-out data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial

from gdjax import checks
from gdjax.stop.conditions import Condition, Point, Scalar
from gdjax.trees import PyTree, strongly_typed, summable


def _seen(point: Point, loss: Any, grad: PyTree = None) -> Point:
    """Return the point as the condition within sees it."""
    return point._replace(loss=loss, grad=point.grad if grad is None else grad)


def _checked(condition: Any) -> Condition:
    if not isinstance(condition, Condition):
        raise TypeError(f"condition: expected a condition of gdjax.stop, got {condition!r}")
    return condition


class _Means(NamedTuple):
    weight: jax.Array  # [] that of all that was averaged: it tends to 1
    loss: jax.Array
    grad: PyTree  # None where the condition does not ask for it


class _Averages(NamedTuple):
    means: _Means
    inner: PyTree  # memory of the condition


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Averaged(Condition):
    condition: Condition
    decay: Scalar

    def init(self, point: Point) -> PyTree:
        asked = self.condition.gradient_tolerance(point.params) is not None
        weight = jnp.asarray(1 - self.decay, jnp.result_type(float))
        means = _Means(weight, summable(point.loss), summable(point.grad) if asked else None)
        return _Averages(means, self.condition.init(self._smooth(means, point)))

    def update(self, memory: _Averages, before: Point, after: Point) -> PyTree:
        old = memory.means
        fresh = jnp.asarray(1 - self.decay, old.weight.dtype)
        weight = old.weight + fresh * (1 - old.weight)
        share = fresh / weight

        def moved(mean: jax.Array, new: jax.Array) -> jax.Array:
            return mean + share.astype(jnp.finfo(mean.dtype).dtype) * (summable(new) - mean)

        grad = None if old.grad is None else jax.tree.map(moved, old.grad, after.grad)
        means = _Means(weight, moved(old.loss, after.loss), grad)
        inner = self.condition.update(
            memory.inner, self._smooth(old, before), self._smooth(means, after)
        )
        return _Averages(means, inner)

    def holds(self, memory: _Averages, point: Point) -> jax.Array:
        return self.condition.holds(memory.inner, self._smooth(memory.means, point))

    def gradient_tolerance(self, params: PyTree) -> Scalar | None:
        return self.condition.gradient_tolerance(params)

    def _smooth(self, means: _Means, point: Point) -> Point:
        return _seen(point, means.loss, means.grad)


def averaged(condition: Condition, decay: Scalar = 0.9) -> Condition:
    """Return the condition as it holds for moving averages of the loss and the gradient.

    The averages are exponential, with the bias of their start corrected, as those of `optax.ema`.
    The gradient is averaged, and a copy of it carried, only where the condition asks for it.

    Args:
      condition: a condition of `gdjax.stop`, or several combined.
      decay: scalar from 0 to below 1: how much of an average stays in a step. Its memory is
        about `1 / (1 - decay)` steps.

    Returns:
      The condition.

    Raises:
      TypeError: `condition` is none, or `decay` not a real scalar.
      ValueError: `decay` is below 0 or not below 1.

    >>> import gdjax, optax
    >>> stop = gdjax.stop.averaged(gdjax.stop.loss_below(0.5), decay=0.5)
    >>> result = gdjax.run(gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.25), stop=stop))
    >>> int(result.steps)  # losses 1, 1/4, ...; averages 1, 1/2, ...
    1
    """
    decay = checks.at_least_zero("decay", decay)
    if checks.is_concrete(decay) and not decay < 1:
        raise ValueError(f"decay: expected a number below 1, got {decay!r}")
    return _Averaged(_checked(condition), decay)


class _Validated(NamedTuple):
    begun: jax.Array  # bool [] whether there was an evaluation
    loss: jax.Array  # [] the last one
    inner: PyTree  # memory of the condition


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Validation(Condition):
    function: Partial
    condition: Condition
    every: int = field(metadata={"static": True})

    def init(self, point: Point) -> PyTree:
        # Not evaluated here: a sweep would do so at every step.
        kind = jax.eval_shape(lambda point: _scalar(self.function(point)), point)
        loss = jnp.zeros((), kind.dtype)
        inner = self.condition.init(_seen(point, loss))
        return _Validated(jnp.zeros((), bool), loss, inner)

    def update(self, memory: _Validated, before: Point, after: Point) -> PyTree:
        def evaluated(memory: _Validated) -> _Validated:
            loss = _scalar(self.function(after))
            now = _seen(after, loss)
            inner = jax.tree.map(
                lambda first, later: jnp.where(memory.begun, later, first),
                self.condition.init(now),
                self.condition.update(memory.inner, _seen(before, memory.loss), now),
            )
            return _Validated(jnp.ones((), bool), loss, inner)

        if self.every == 1:
            return evaluated(memory)
        due = lax.rem(after.step, jnp.asarray(self.every, after.step.dtype)) == 0
        return lax.cond(due, evaluated, lambda memory: memory, memory)

    def holds(self, memory: _Validated, point: Point) -> jax.Array:
        return memory.begun & self.condition.holds(memory.inner, _seen(point, memory.loss))

    def gradient_tolerance(self, params: PyTree) -> Scalar | None:
        return self.condition.gradient_tolerance(params)


def validation(
    function: Callable[[Any], Any], condition: Condition, *, every: int = 1
) -> Condition:
    """Return the condition as it holds for another loss, such as that of held-out data.

    The condition sees only the steps at which that is evaluated, so that the window of
    `loss_stalled` counts evaluations.

    Args:
      function: function of the `gdjax.State` that returns a real floating scalar. So that data are
        an argument of the compiled program and not a part of it, bind them with
        `jax.tree_util.Partial(function, data)`, for a function of `(data, state)`.
      condition: a condition of `gdjax.stop`, or several combined.
      every: whole number of steps: at each multiple of it there is an evaluation, none at the
        start.

    Returns:
      The condition.

    Raises:
      TypeError: `function` is no function or returns no real floating scalar, `condition` is no
        condition, or `every` no whole number.
      ValueError: `every` is below 1.

    >>> import gdjax, optax
    >>> held_out = jax.tree_util.Partial(lambda x, state: (state.params - x) ** 2, 0.5)
    >>> stop = gdjax.stop.validation(held_out, gdjax.stop.loss_stalled(1), every=2)
    >>> result = gdjax.run(gdjax.Descent(lambda w: w**2, 8.0, optax.sgd(0.25), stop=stop))
    >>> int(result.steps), float(result.params)  # at 2, 1/2, 1/8, … it is best at 1/2
    (6, 0.125)
    """
    checks.function("function", function)
    function = function if isinstance(function, Partial) else Partial(function)
    return _Validation(function, _checked(condition), checks.whole_number("every", every, least=1))


def _scalar(value: Any) -> jax.Array:
    if jnp.shape(value) != () or not jnp.issubdtype(checks.dtype(value), jnp.floating):
        raise TypeError(
            "function: expected the validation to return a real floating scalar, it returns "
            f"{checks.dtype(value)}{jnp.shape(value)}"
        )
    return jnp.asarray(strongly_typed(value))
