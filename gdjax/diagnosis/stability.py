"""The update map linearised at a point: whether deviations grow there."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Descent
from gdjax.diagnosis.end import End, state_at
from gdjax.diagnosis.tangent import first_tangent, linearised
from gdjax.lanewise import scan

UNSTABLE = 1.005  # growth of a deviation in a step
TURNS = 256  # of the power iteration; the second half counts


def spectral_radius(d: Descent, ends: End) -> tuple[jax.Array, jax.Array]:
    """Return how the fastest deviation grows in a step, and whether that is instability.

    It is where the loss rises along the deviation: away from a saddle runs part as well. Of some
    ends [n] of a plain descent, the first is meant that is unstable, if any is.
    """
    radius, upward = lax.map(partial(growth_at, d), ends)
    unstable = upward & (radius > UNSTABLE)
    first = jnp.argmax(unstable)
    return radius[first], unstable[first]


def growth_at(d: Descent, end: End) -> tuple[jax.Array, jax.Array]:
    """Return how the fastest deviation from one end grows in a step, and whether the loss rises."""
    state = state_at(d, end)
    step = linearised(d, state)

    def turn(carry: tuple, number: jax.Array) -> tuple[tuple, None]:
        tangent, total, upward = carry
        tangent, growth, curvature = step(tangent)
        counts = number >= TURNS // 2
        upward += jnp.where(counts, jnp.sign(curvature), 0)
        return (tangent, total + jnp.where(counts, growth, 0), upward), None

    zero = jnp.zeros((), jnp.result_type(state.loss, jnp.float32))
    begin = first_tangent(state), zero, zero
    (_, total, upward), _ = scan(turn, begin, jnp.arange(TURNS, dtype=jnp.int32))
    return jnp.exp(total / (TURNS - TURNS // 2)), upward > 0
