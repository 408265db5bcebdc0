"""The update map linearised at a point: whether deviations grow there."""

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Descent
from gdjax.diagnosis.end import End, state_at
from gdjax.diagnosis.tangent import curvature_along, first_tangent, lifted, next_with_tangent

UNSTABLE = 1.005  # growth of a deviation in a step
TURNS = 256  # of the power iteration; the second half counts


def spectral_radius(d: Descent, ends: End) -> tuple[jax.Array, jax.Array]:
    """Return how the fastest deviation grows in a step, and whether that is instability.

    It is where the loss rises along the deviation: away from a saddle runs part as well. Of some
    ends [n] of a plain descent, the first is meant that is unstable, if any is.
    """
    radius, upward = lax.map(lambda end: _spectral_radius(d, end), ends)
    unstable = upward & (radius > UNSTABLE)
    first = jnp.argmax(unstable)
    return radius[first], unstable[first]


def _spectral_radius(d: Descent, end: End) -> tuple[jax.Array, jax.Array]:
    state = state_at(d, end)

    def turn(number: jax.Array, carry: tuple) -> tuple:
        tangent, total, upward = carry
        tangent = lifted(d, state, tangent)
        counts = number >= TURNS // 2
        upward += jnp.where(counts, jnp.sign(curvature_along(state, tangent)), 0)
        _, tangent, growth = next_with_tangent(d, state, tangent)
        return tangent, total + jnp.where(counts, growth, 0), upward

    zero = jnp.zeros((), jnp.result_type(state.loss, jnp.float32))
    _, total, upward = lax.fori_loop(0, TURNS, turn, (first_tangent(state), zero, zero))
    return jnp.exp(total / (TURNS - TURNS // 2)), upward > 0
