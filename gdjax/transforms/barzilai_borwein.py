"""Barzilai–Borwein steps: the curvature along the last step sets the next step size.

Barzilai and Borwein, Two-point step size gradient methods, IMA Journal of Numerical Analysis 8,
1988.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gdjax import checks
from gdjax.transforms.vectors import copied, difference, needed, polar, scaled
from gdjax.trees import PyTree, inner, real_dtype


class BarzilaiBorweinState(NamedTuple):
    """What the next step size is made of."""

    learning_rate: jax.Array  # [] of the last step
    params: PyTree  # before the last step
    updates: PyTree  # the gradient there


def barzilai_borwein(
    learning_rate: Any,
    kind: Literal["long", "short"] = "short",
    max_learning_rate: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Descend along the gradient with a step size from the change of it over the last step.

    With the last step `s = w - w'` and the change of the gradient `y = g - g'`, the long step is
    `-(s·s / s·y) g`, the short one `-(s·y / y·y) g`. The loss may rise on the way; on quadratics
    both kinds converge, in two dimensions faster than linearly. On other losses the short steps are
    the safer ones: a long step is very long where the curvature along the last one was nearly zero.

    Where the curvature along the step is not positive, `s·y <= 0`, the step size is `|s| / |y|`
    (Dai, Al-Baali, Yang, 2015); where the step or the change is zero, the last one is kept. Where a
    loss is far from quadratic, `optax.scale_by_backtracking_linesearch` may follow.

    Nearest in optax: `polyak_sgd`, which must know the lowest loss; `lbfgs` with a memory of 1 has
    the short step as its scale.

    Args:
      learning_rate: of the first step, large enough to move the parameters in their dtype: positive
        real scalar, may be traced.
      kind: "short" or "long".
      max_learning_rate: the largest step size, a positive real scalar, may be traced; or None.

    Returns:
      The transformation, from gradients to steps like `optax.sgd`. The step `s` is seen in the
      parameters, so what follows in a chain may change it.

    Raises:
      TypeError: a learning rate is not a real scalar.
      ValueError: a learning rate is not finite and positive, or `kind` is unknown.

    The valley of ½(x² + 100y²) holds every constant learning rate back:

    >>> import gdjax, jax.numpy as jnp, optax
    >>> loss = lambda w: 0.5 * (w[0] ** 2 + 100 * w[1] ** 2)
    >>> best, bb = optax.sgd(2 / 101), gdjax.transforms.barzilai_borwein(1e-3)
    >>> for optimizer in (best, bb):
    ...     result = gdjax.run(gdjax.Descent(loss, jnp.array([100.0, 1.0]), optimizer))
    ...     print(int(result.steps) < 30)
    False
    True
    """
    learning_rate = checks.positive_scalar("learning_rate", learning_rate)
    if max_learning_rate is not None:
        max_learning_rate = checks.positive_scalar("max_learning_rate", max_learning_rate)
    if kind not in ("long", "short"):
        raise ValueError(f"kind: expected 'long' or 'short', got {kind!r}")

    def init(params):
        rate = jnp.asarray(learning_rate, real_dtype(params))
        return BarzilaiBorweinState(rate, copied(params), optax.tree.zeros_like(params))

    def update(updates, state, params=None, **_):
        step, step_direction = polar(difference(needed("params", params), state.params))
        change, change_direction = polar(difference(updates, state.updates))
        cosine = inner(step_direction, change_direction)
        ratio = step / jnp.where(change > 0, change, 1)
        convex = jnp.where(cosine > 0, cosine, 1)
        rate = ratio / convex if kind == "long" else ratio * convex
        known = (step > 0) & (change > 0) & jnp.isfinite(rate) & (rate > 0)
        rate = jnp.where(known, rate, state.learning_rate)
        if max_learning_rate is not None:
            rate = jnp.minimum(rate, jnp.asarray(max_learning_rate, rate.dtype))
        return scaled(-rate, updates), BarzilaiBorweinState(rate, params, updates)

    return optax.GradientTransformationExtraArgs(init, update)
