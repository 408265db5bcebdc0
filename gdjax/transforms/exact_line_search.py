"""Exact line search on quadratics: the step to the minimum along a line.

Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées, 1847; Boyd and
Vandenberghe, Convex Optimization, Cambridge, 2004, section 9.3.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from gdjax import checks
from gdjax.losses import ascent_direction
from gdjax.transforms.vectors import needed, polar, scaled
from gdjax.trees import inner


def exact_line_search(fallback: Any = 1.0) -> optax.GradientTransformationExtraArgs:
    """Scale the updates d to the minimum of the quadratic model along them, `-(g·d / d·Hd) d`.

    On a quadratic loss that is the minimum along the line itself. Of a gradient as updates it
    makes steepest descent, `-(g·g / g·Hg) g`; only the line counts, so a step of any length or sign
    will do as well, such as that of `optax.adam`. One Hessian-vector product an update.

    Nearest in optax: `scale_by_zoom_linesearch`, which tries several step sizes on any loss; where
    a loss is not quadratic, `optax.scale_by_backtracking_linesearch` may follow this one.

    Args:
      fallback: how much of the updates to take, downhill, where the curvature along them is not
        positive, so that the quadratic model has no minimum: real scalar, may be traced.

    Returns:
      The transformation, without state. Its update takes `value_fn`, a function from parameters to
      the loss.

    Raises:
      TypeError: `fallback` is not a real scalar.
      ValueError: `fallback` is not finite.

    A constant learning rate that crosses the valley of ½(x² + 100y²) in one step is far beyond what
    is stable:

    >>> import gdjax, jax.numpy as jnp, optax
    >>> loss = lambda w: 0.5 * (w[0] ** 2 + 100 * w[1] ** 2)
    >>> for optimizer in (optax.sgd(1.0), gdjax.transforms.exact_line_search()):
    ...     result = gdjax.run(gdjax.Descent(loss, jnp.array([3.0, 4.0]), optimizer))
    ...     print(gdjax.Status(int(result.status)).name)
    DIVERGED
    CONVERGED
    """
    fallback = checks.finite_scalar("fallback", fallback)

    def update(updates, state, params=None, *, value_fn=None, **_):
        length, line = polar(updates)
        loss, params = needed("value_fn", value_fn), needed("params", params)
        # The gradient there, and not `grad`, which is of all where these are some parameters.
        grad, product = jax.jvp(lambda p: ascent_direction(loss, p, ()), (params,), (line,))
        slope, curvature = inner(grad, line), inner(line, product)
        distance = -slope / jnp.where(curvature > 0, curvature, 1)
        has_minimum = (curvature > 0) & jnp.isfinite(distance)
        distance = jnp.where(has_minimum, distance, -jnp.sign(slope) * fallback * length)
        return scaled(distance, line), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)
