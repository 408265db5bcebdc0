"""Adaptive gradient descent without line search: the step size follows the local smoothness.

Malitsky and Mishchenko, Adaptive gradient descent without descent, ICML 2020, arXiv 1910.09529.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gdjax import checks
from gdjax.transforms.vectors import copied, difference, needed, polar, scaled
from gdjax.trees import PyTree, real_dtype


class MalitskyMishchenkoState(NamedTuple):
    """What the next step size is made of."""

    learning_rate: jax.Array  # [] λ of the last step
    growth: jax.Array  # [] θ, how that compares with the one before; at first infinite
    params: PyTree  # before the last step
    updates: PyTree  # the gradient there


def malitsky_mishchenko(learning_rate: Any) -> optax.GradientTransformationExtraArgs:
    """Descend along the gradient, with step sizes that need neither line search nor smoothness.

    `λ = min(√(1 + θ') λ', |w - w'| / 2|g - g'|)` and `θ = λ/λ'`, where a prime marks the step
    before. For every convex loss with a locally Lipschitz gradient it converges, and where the
    gradient's Lipschitz constant is L, `λ >= 1/2L` after the first step.

    Where the gradient does not change only the first bound holds; where the parameters do not
    change λ and θ are kept.

    Nearest in optax: `polyak_sgd`, which must know the lowest loss; `contrib.prodigy` and
    `contrib.dog`, which set one scale for the whole run rather than follow the curvature.

    Args:
      learning_rate: λ of the first step, small, but large enough to move the parameters in their
        dtype: positive real scalar, may be traced.

    Returns:
      The transformation, from gradients to steps like `optax.sgd`. The last step is seen in the
      parameters, so what follows in a chain may change it.

    Raises:
      TypeError: `learning_rate` is not a real scalar.
      ValueError: `learning_rate` is not finite and positive.

    The gradient of x⁴/4 has no Lipschitz constant, so a constant learning rate is too large
    somewhere and too small elsewhere:

    >>> import gdjax, optax
    >>> adaptive = gdjax.transforms.malitsky_mishchenko(1e-6)
    >>> for optimizer in (optax.sgd(0.1), adaptive):
    ...     stop = gdjax.stop.gradient_below(1e-6)
    ...     d = gdjax.Descent(lambda x: x**4 / 4, 10.0, optimizer, stop=stop, max_steps=200)
    ...     print(gdjax.Status(int(gdjax.run(d).status)).name)
    DIVERGED
    CONVERGED
    """
    learning_rate = checks.positive_scalar("learning_rate", learning_rate)

    def init(params):
        rate = jnp.asarray(learning_rate, real_dtype(params))
        infinite = jnp.full_like(rate, jnp.inf)
        return MalitskyMishchenkoState(
            rate, infinite, copied(params), optax.tree.zeros_like(params)
        )

    def update(updates, state, params=None, **_):
        step, _ = polar(difference(needed("params", params), state.params))
        change, _ = polar(difference(updates, state.updates))
        local = jnp.where(change > 0, step / jnp.where(change > 0, 2 * change, 1), jnp.inf)
        last, grows = state.learning_rate, jnp.isfinite(state.growth)
        # The root of infinity has no derivative, which a run differentiated in a rate would meet.
        most = jnp.where(grows, jnp.sqrt(1 + jnp.where(grows, state.growth, 0)) * last, jnp.inf)
        rate = jnp.minimum(most, local)
        rate = jnp.where(jnp.isfinite(rate) & (rate > 0), rate, last)
        moved = step > 0
        growth = jnp.where(moved, rate / last, state.growth)
        rate = jnp.where(moved, rate, last)
        return scaled(-rate, updates), MalitskyMishchenkoState(rate, growth, params, updates)

    return optax.GradientTransformationExtraArgs(init, update)
