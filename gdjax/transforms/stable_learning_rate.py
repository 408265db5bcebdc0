"""A learning rate that is held below the local limit of stability.

Gradient descent on a quadratic with largest curvature λ is stable if and only if its learning rate
is below 2/λ. Beyond that it bounces and grows: LeCun, Simard, Pearlmutter, Automatic learning rate
maximization by on-line estimation of the Hessian's eigenvectors, NeurIPS 1992, carried a power
iteration along for it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gdjax import checks
from gdjax.losses import hessian_product
from gdjax.transforms.top_curvature import top_curvature
from gdjax.transforms.vectors import copied, needed, scaled
from gdjax.trees import PyTree, real_dtype


class StableLearningRateState(NamedTuple):
    """The eigenvector of the largest curvature, carried along, and what came of it."""

    step: jax.Array  # int32 [] updates so far
    vector: PyTree  # as the parameters
    curvature: jax.Array  # [] largest, at the last parameters
    learning_rate: jax.Array  # [] of the last step


def scale_by_stable_learning_rate(
    learning_rate: Any, key: jax.Array, limit: Any = 1.8
) -> optax.GradientTransformationExtraArgs:
    """Multiply by `-min(learning_rate, limit / λ)`, with λ the largest curvature of the loss here.

    λ is the largest eigenvalue of the Hessian at `params`, to within a twentieth and rather above
    it than below. Its eigenvector is carried from update to update, so that after the first one
    two or three Hessian-vector products an update are enough. Where no curvature is positive, the
    learning rate is taken as it is.

    Nearest in optax: `scale_by_learning_rate`, whose place in a chain it takes; and
    `power_iteration`, which starts anew each time and finds the eigenvalue of largest magnitude.

    Args:
      learning_rate: real scalar, may be traced, or a schedule.
      key: random key, for the first vector.
      limit: of `learning_rate * λ`, positive real scalar, may be traced. Stable are values below 2
        for gradient descent, 2(1 + β) for momentum β, (2 + 2β)/(1 + 2β) for Nesterov's. It is no
        limit for preconditioned updates such as Adam's.

    Returns:
      The transformation. Its update takes `value_fn`, a function from parameters to the loss.

    Raises:
      TypeError: a number is not a real scalar, or `key` no random key.
      ValueError: a number is not finite, or `limit` not positive.

    A learning rate that suits the valleys of Himmelblau's function is too large on its walls:

    >>> import gdjax, jax, jax.numpy as jnp, optax
    >>> held = gdjax.transforms.scale_by_stable_learning_rate(0.02, jax.random.key(0))
    >>> for optimizer in (optax.sgd(0.02), held):
    ...     d = gdjax.Descent(gdjax.landscapes.himmelblau, jnp.array([6.0, 6.0]), optimizer)
    ...     print(gdjax.Status(int(gdjax.run(d).status)).name)
    DIVERGED
    CONVERGED
    """
    if not callable(learning_rate):
        learning_rate = checks.finite_scalar("learning_rate", learning_rate)
    key = checks.typed_key("key", key)
    limit = checks.positive_scalar("limit", limit)

    def init(params):
        # Normal in each entry: no eigenvector is orthogonal to it.
        vector = optax.tree.random_like(key, copied(params), jax.random.normal)
        zero = jnp.zeros((), real_dtype(params))
        return StableLearningRateState(jnp.zeros((), jnp.int32), vector, zero, zero)

    def update(updates, state, params=None, *, value_fn=None, **_):
        def product(vector):
            return hessian_product(
                needed("value_fn", value_fn), needed("params", params), vector, ()
            )

        # An instability grows along the updates, so they show where to look for it.
        top = top_curvature(product, state.vector, updates)
        curvature = top.value + top.error
        usual = learning_rate(state.step) if callable(learning_rate) else learning_rate
        usual = jnp.asarray(usual, curvature.dtype)
        most = limit / jnp.where(curvature > 0, curvature, 1)
        rate = jnp.where(curvature > 0, jnp.minimum(usual, most.astype(usual.dtype)), usual)
        known = jnp.isfinite(curvature)
        vector = jax.tree.map(lambda a, b: jnp.where(known, a, b), top.vector, state.vector)
        return scaled(-rate, updates), StableLearningRateState(
            state.step + 1, vector, curvature, rate
        )

    return optax.GradientTransformationExtraArgs(init, update)
