"""Perturbed gradient descent: a random push where the gradient has died, to leave saddles.

Jin, Ge, Netrapalli, Kakade, Jordan, How to escape saddle points efficiently, ICML 2017,
arXiv 1703.00887, algorithms 1 and 2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gdjax import checks
from gdjax.transforms.vectors import copied, difference, needed, polar
from gdjax.trees import PyTree, real_vector


class PerturbState(NamedTuple):
    """Where the last push was, and whether it is still being watched."""

    step: jax.Array  # int32 [] updates so far
    waited: jax.Array  # int32 [] updates since the last push, -1 where none is being watched
    settled: jax.Array  # bool [] a push from here led nowhere: take no other
    params: PyTree  # before the last push
    value: jax.Array  # [] the loss there


def perturb(
    key: jax.Array, radius: Any, grad_below: Any, patience: Any, least_fall: Any = 0.0
) -> optax.GradientTransformationExtraArgs:
    """Push the parameters at random where the gradient is small, and see if the loss falls.

    Where the Euclidean norm of the gradient is at most `grad_below`, a vector drawn uniformly from
    the ball of `radius` is added to the updates. If the loss `patience` updates later is not more
    than `least_fall` below what it was, the parameters go back to where they were pushed from: a
    minimum, as good as certainly. No other push is made until the gradient has been larger.

    Of starts on a saddle's stable manifold, which gradient descent leads to the saddle, it brings
    almost all to a minimum. Along a direction of curvature -γ, descent with the learning rate η
    takes from a distance ε to 1 `ln(1/ε) / ln(1 + ηγ)` steps: choose `patience` no shorter, for an
    ε of about the radius.

    Nearest in optax: `add_noise` and `noisy_sgd`, whose noise is added at every step, so that
    it keeps the run from converging while it lasts.

    Args:
      key: random key.
      radius: of the ball, real scalar >= 0 in the units of the parameters.
      grad_below: real scalar >= 0. Take it above the tolerance of the run's stopping condition,
        which would else end the run at the saddle.
      patience: whole number of updates, at least 1.
      least_fall: real scalar >= 0, in the units of the loss. All but the key may be traced too.

    Returns:
      The transformation, to follow a learning rate: `optax.chain(optax.sgd(0.1), perturb(…))`. Its
      update takes `value` and `grad`, the loss and its gradient at `params`.

    Raises:
      TypeError: an argument is not of the kind above.
      ValueError: a number is negative or not finite, or `patience` is below 1.

    From the ridge x₂ = 0 gradient descent ends at the saddle 0, between the minima (0, ±1):

    >>> import gdjax, jax, jax.numpy as jnp, optax
    >>> loss = lambda w: 0.5 * w[0] ** 2 + 0.25 * w[1] ** 4 - 0.5 * w[1] ** 2
    >>> push = gdjax.transforms.perturb(jax.random.key(0), 0.01, grad_below=0.01, patience=100)
    >>> for optimizer in (optax.sgd(0.1), optax.chain(optax.sgd(0.1), push)):
    ...     result = gdjax.run(gdjax.Descent(loss, jnp.array([1.0, 0.0]), optimizer))
    ...     print(abs(result.params.round(2)))
    [0. 0.]
    [0. 1.]
    """
    key = checks.typed_key("key", key)
    radius = checks.at_least_zero("radius", radius)
    grad_below = checks.at_least_zero("grad_below", grad_below)
    least_fall = checks.at_least_zero("least_fall", least_fall)
    if checks.is_concrete(patience):
        checks.whole_number("patience", patience, least=1)

    def init(params):
        step, waited = jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32)
        # The loss may be in a wider dtype than the parameters: take the widest there is.
        return PerturbState(step, waited, jnp.zeros((), bool), copied(params), jnp.zeros(()))

    def update(updates, state, params=None, *, value=None, grad=None, **_):
        value = jnp.asarray(needed("value", value), state.value.dtype)
        small = polar(needed("grad", grad)).length <= grad_below
        judged = state.waited == patience
        back = judged & ~(value < state.value - least_fall)
        push = small & ~state.settled & (state.waited < 0)
        new = lax.cond(push, lambda: pushed(updates, state.step), lambda: updates)
        home = difference(state.params, needed("params", params))
        new = jax.tree.map(lambda to_home, u: jnp.where(back, to_home, u), home, new)
        waiting = (state.waited >= 0) & ~judged
        waited = jnp.where(push, 0, jnp.where(waiting, state.waited + 1, -1))
        settled = (state.settled & small) | back
        last, last_value = jax.tree.map(
            lambda now, then: jnp.where(push, now, then),
            (params, value),
            (state.params, state.value),
        )
        return new, PerturbState(state.step + 1, waited, settled, last, last_value)

    def pushed(updates, step):
        noise = _from_ball(jax.random.fold_in(key, step), updates)
        return jax.tree.map(lambda u, x: (u + radius * x).astype(u.dtype), updates, noise)

    return optax.GradientTransformationExtraArgs(init, update)


def _from_ball(key: jax.Array, like: PyTree) -> PyTree:
    """Return a vector from the uniform distribution in the unit ball."""
    vector, unravel = real_vector(like)
    # A point of the sphere in two dimensions more, without two of its coordinates.
    wide = jnp.promote_types(vector.dtype, jnp.float32)
    normal = jax.random.normal(key, (vector.size + 2,), wide)
    return unravel((normal / jnp.linalg.norm(normal))[:-2].astype(vector.dtype))
