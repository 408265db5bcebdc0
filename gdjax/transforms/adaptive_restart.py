"""Nesterov's accelerated gradient with adaptive restart.

O'Donoghue and Candès, Adaptive restart for accelerated gradient schemes, Foundations of
Computational Mathematics 15, 2015, arXiv 1204.3982.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gdjax.transforms.vectors import needed, scaled
from gdjax.trees import PyTree, inner, real_dtype, strongly_typed


class AdaptiveRestartState(NamedTuple):
    """How far the acceleration has got since the last restart."""

    theta: jax.Array  # [] θ, 1 just after a restart; the momentum grows as it falls
    trace: PyTree  # what the parameters are ahead of the last point x by
    value: Any  # [] the loss at that point, infinite at first; () in the scheme "gradient"


def adaptive_restart(
    scheme: Literal["gradient", "function"] = "gradient",
) -> optax.GradientTransformationExtraArgs:
    """Accelerate steps by Nesterov's growing momentum, and drop it where it leads uphill.

    With the incoming step u from y, the parameters: `x = y + u`, then `y = x + β (x - x')`, where a
    prime marks the step before, `β = θ'(1 - θ')/(θ'² + θ)` and `θ² = (1 - θ) θ'²`, from θ = 1. A
    restart sets θ to 1 and β to 0:

    - "gradient": where `u·(x - x') < 0`, that is, the gradient at y points along the velocity;
    - "function": where the loss at x is above that at x'. It costs one more evaluation of the loss.

    On a strongly convex loss of unknown condition number κ it takes of the order of √κ steps, as
    the best constant momentum does; without restarts the loss ripples.

    Nearest in optax: `trace(decay, nesterov=True)`, with constant momentum.

    Args:
      scheme: "gradient" or "function".

    Returns:
      The transformation, to follow a learning rate of at most 1/L, as in
      `optax.chain(optax.sgd(0.01), adaptive_restart())`. In the scheme "function", the update takes
      `value_fn`, a function from parameters to the loss.

    Raises:
      ValueError: `scheme` is unknown.

    The momentum that accelerates far from the minimum overshoots near it:

    >>> import gdjax, jax.numpy as jnp, optax
    >>> loss = lambda w: 0.5 * (w[0] ** 2 + 100 * w[1] ** 2)
    >>> momentum = optax.sgd(0.01, momentum=0.99, nesterov=True)
    >>> restarted = optax.chain(optax.sgd(0.01), gdjax.transforms.adaptive_restart())
    >>> for optimizer in (momentum, restarted):
    ...     result = gdjax.run(gdjax.Descent(loss, jnp.array([100.0, 1.0]), optimizer))
    ...     print(int(result.steps) < 150)
    False
    True
    """
    if scheme not in ("gradient", "function"):
        raise ValueError(f"scheme: expected 'gradient' or 'function', got {scheme!r}")

    def init(params):
        theta = jnp.ones((), real_dtype(params))
        # The loss may be in a wider dtype than the parameters: take the widest there is.
        value = strongly_typed(jnp.full((), jnp.inf)) if scheme == "function" else ()
        return AdaptiveRestartState(theta, optax.tree.zeros_like(params), value)

    def update(updates, state, params=None, *, value_fn=None, **_):
        velocity = jax.tree.map(lambda t, u: (t + u).astype(u.dtype), state.trace, updates)
        if scheme == "gradient":
            value, restart = (), inner(updates, velocity) < 0
        else:
            after = optax.apply_updates(needed("params", params), updates)
            value = jnp.asarray(needed("value_fn", value_fn)(after), state.value.dtype)
            restart = value > state.value
        last = state.theta
        theta = last * (jnp.sqrt(last**2 + 4) - last) / 2
        momentum = last * (1 - last) / (last**2 + theta)
        trace = scaled(jnp.where(restart, 0, momentum), velocity)
        theta = jnp.where(restart, 1, theta)
        ahead = jax.tree.map(jnp.add, updates, trace)
        return ahead, AdaptiveRestartState(theta, trace, value)

    return optax.GradientTransformationExtraArgs(init, update)
