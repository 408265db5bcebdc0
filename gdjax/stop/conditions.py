"""Single conditions, and how they combine."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from gdjax import checks
from gdjax.trees import PyTree, coarsest_eps, euclidean, is_max_at_most, max_abs

__all__ = ["Condition", "gradient_below", "loss_below", "loss_stalled", "step_below"]

Scalar = Any  # A Python number, a scalar array or a tracer of one.
NORMS = {"max": max_abs, "l2": euclidean}


class Point(Protocol):
    """What a condition sees of a run: every `State` of a descent has it."""

    @property
    def params(self) -> PyTree: ...
    @property
    def loss(self) -> jax.Array: ...
    @property
    def grad(self) -> PyTree: ...
    @property
    def step(self) -> jax.Array: ...
    def _replace(self, **fields: Any) -> "Point": ...


class Condition:
    """A stopping condition; `a & b` holds when both hold, `a | b` when either does."""

    def init(self, point: Point) -> PyTree:
        """Return the memory at the start of a run."""
        return ()

    def update(self, memory: PyTree, before: Point, after: Point) -> PyTree:
        """Return the memory after a step."""
        return memory

    def holds(self, memory: PyTree, point: Point) -> jax.Array:
        """Return whether to stop here, a boolean scalar."""
        raise NotImplementedError

    def holds_alone(self, memory: PyTree, point: Point) -> jax.Array:
        """Return the same, in the way that is the quickest outside `vmap`."""
        return self.holds(memory, point)

    def gradient_tolerance(self, params: PyTree) -> Scalar | None:
        """Return how small the gradient must become, None where that is not asked for."""
        return None

    def __and__(self, other: "Condition") -> "Condition":
        return _Both(self, _as_condition(other))

    def __or__(self, other: "Condition") -> "Condition":
        return _Either(self, _as_condition(other))


def _as_condition(other: Any) -> Condition:
    if not isinstance(other, Condition):
        raise TypeError(f"stop: expected a condition of gdjax.stop on both sides, got {other!r}")
    return other


def _resolved(tol: Scalar | None, params: PyTree) -> Scalar:
    return coarsest_eps(params) ** 0.5 if tol is None else tol


def _check_norm(norm: str) -> str:
    if not isinstance(norm, str) or norm not in NORMS:
        raise ValueError(f"norm: expected one of {sorted(NORMS)}, got {norm!r}")
    return norm


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _GradientBelow(Condition):
    tol: Scalar | None
    norm: str = field(metadata={"static": True})

    def holds(self, memory: PyTree, point: Point) -> jax.Array:
        return NORMS[self.norm](point.grad) <= _resolved(self.tol, point.params)

    def holds_alone(self, memory: PyTree, point: Point) -> jax.Array:
        if self.norm == "max":
            return is_max_at_most(point.grad, _resolved(self.tol, point.params))
        return self.holds(memory, point)

    def gradient_tolerance(self, params: PyTree) -> Scalar:
        return _resolved(self.tol, params)


def gradient_below(tol: Scalar | None = None, norm: str = "max") -> Condition:
    """Stop when the norm of the gradient is at most `tol`.

    Args:
      tol: scalar >= 0, in the units of loss / parameter; None is the square root of the machine
        epsilon of the coarsest parameter dtype (3.5e-4 in float32, 1.5e-8 in float64).
      norm: "max", the largest absolute entry over the whole tree, or "l2", the Euclidean norm.

    Returns:
      The condition.

    Raises:
      TypeError: `tol` is not a real scalar.
      ValueError: `tol` is negative or not finite, or `norm` is unknown.

    >>> import gdjax, optax
    >>> stop = gdjax.stop.gradient_below(1e-3) | gdjax.stop.loss_below(0.5)
    >>> result = gdjax.run(gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.1), stop=stop))
    >>> int(result.steps)
    2
    """
    return _GradientBelow(checks.tolerance("tol", tol), _check_norm(norm))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _StepBelow(Condition):
    tol: Scalar | None
    norm: str = field(metadata={"static": True})

    def init(self, point: Point) -> PyTree:
        return jnp.full_like(NORMS[self.norm](point.params), jnp.inf)

    def update(self, memory: PyTree, before: Point, after: Point) -> PyTree:
        return NORMS[self.norm](jax.tree.map(jnp.subtract, after.params, before.params))

    def holds(self, memory: PyTree, point: Point) -> jax.Array:
        return memory <= _resolved(self.tol, point.params)


def step_below(tol: Scalar | None = None, norm: str = "max") -> Condition:
    """Stop when the last step moved the parameters by at most `tol`; never before a first step.

    With an optimizer that only collects gradients at some steps, such as `optax.MultiSteps`, the
    first of these steps stops it: combine with `gradient_below` by `&`.

    Args:
      tol: scalar >= 0, in the units of the parameters; None as in `gradient_below`.
      norm: "max" or "l2", as in `gradient_below`.

    Returns:
      The condition.

    Raises:
      TypeError: `tol` is not a real scalar.
      ValueError: `tol` is negative or not finite, or `norm` is unknown.

    >>> import gdjax, optax
    >>> stop = gdjax.stop.step_below(0.03)
    >>> result = gdjax.run(gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.25), stop=stop))
    >>> int(result.steps)
    6
    """
    return _StepBelow(checks.tolerance("tol", tol), _check_norm(norm))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _LossBelow(Condition):
    value: Scalar

    def holds(self, memory: PyTree, point: Point) -> jax.Array:
        return point.loss <= self.value


def loss_below(value: Scalar) -> Condition:
    """Stop when the loss is at most `value`.

    Args:
      value: finite scalar, in the units of the loss; it may be negative.

    Returns:
      The condition.

    Raises:
      TypeError: `value` is not a real scalar.
      ValueError: `value` is not finite.

    >>> import gdjax, optax
    >>> stop = gdjax.stop.loss_below(0.1)
    >>> result = gdjax.run(gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.25), stop=stop))
    >>> float(result.loss)
    0.0625
    """
    return _LossBelow(checks.finite_scalar("value", value))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _LossStalled(Condition):
    window: Scalar
    tol: Scalar

    def init(self, point: Point) -> PyTree:
        return point.loss, jnp.zeros((), jnp.int32)

    def update(self, memory: PyTree, before: Point, after: Point) -> PyTree:
        level, steps = memory
        fell = after.loss < level - jnp.asarray(self.tol, level.dtype)
        return jnp.where(fell, after.loss, level), jnp.where(fell, 0, steps + 1)

    def holds(self, memory: PyTree, point: Point) -> jax.Array:
        return memory[1] >= self.window


def loss_stalled(window: Scalar = 100, tol: Scalar = 0.0) -> Condition:
    """Stop when for `window` steps the loss did not fall by more than `tol`.

    The fall is measured from the loss at the last such fall, so slow progress adds up, and the
    memory is two numbers, whatever the window. With an optimizer that only collects gradients at
    some steps, such as `optax.MultiSteps`, take a longer window than it collects.

    Args:
      window: whole number of steps, at least 1; it may be traced.
      tol: scalar >= 0, in the units of the loss.

    Returns:
      The condition.

    Raises:
      TypeError: `tol` is not a real scalar or `window` not a whole number.
      ValueError: `tol` is negative or not finite, or `window` is below 1.

    >>> import gdjax, optax
    >>> stop = gdjax.stop.loss_stalled(window=5)
    >>> result = gdjax.run(gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(1.0), stop=stop))
    >>> int(result.steps)  # 1, -1, 1, … for ever: the learning rate is at the limit of stability
    5
    """
    if checks.is_concrete(window):
        checks.whole_number("window", window, least=1)
    if tol is None:
        raise TypeError("tol: expected a number, got None")
    return _LossStalled(window, checks.tolerance("tol", tol))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Both(Condition):
    left: Condition
    right: Condition

    def init(self, point: Point) -> PyTree:
        return self.left.init(point), self.right.init(point)

    def update(self, memory: PyTree, before: Point, after: Point) -> PyTree:
        left, right = memory
        return self.left.update(left, before, after), self.right.update(right, before, after)

    def holds(self, memory: PyTree, point: Point) -> jax.Array:
        left, right = memory
        return self.left.holds(left, point) & self.right.holds(right, point)

    def holds_alone(self, memory: PyTree, point: Point) -> jax.Array:
        left, right = memory
        return self.left.holds_alone(left, point) & self.right.holds_alone(right, point)

    def gradient_tolerance(self, params: PyTree) -> Scalar | None:
        left, right = self.left.gradient_tolerance(params), self.right.gradient_tolerance(params)
        return right if left is None else left


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Either(_Both):
    def holds(self, memory: PyTree, point: Point) -> jax.Array:
        left, right = memory
        return self.left.holds(left, point) | self.right.holds(right, point)

    def holds_alone(self, memory: PyTree, point: Point) -> jax.Array:
        left, right = memory
        return self.left.holds_alone(left, point) | self.right.holds_alone(right, point)
