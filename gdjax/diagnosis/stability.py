"""The update map linearised at a point: whether deviations grow there."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Descent
from gdjax.diagnosis.end import End, state_at
from gdjax.diagnosis.tangent import first_tangent, linearised
from gdjax.lanewise import scan
from gdjax.trees import computed_where

UNSTABLE = 1.005  # growth of a deviation in a step
TURNS = 256  # of the power iteration; the second half counts


def spectral_radius(d: Descent, ends: End, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return how the fastest deviation grows in a step, and whether that is instability.

    It is where the loss rises along the deviation: away from a saddle runs part as well. Of some
    ends [n] of a plain descent, the first is meant that is `wanted` and unstable, if any is, or
    else the very first.
    """
    growth = partial(growth_at, d)
    of_one = jax.eval_shape(growth, jax.tree.map(lambda leaf: leaf[0], ends))
    none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), of_one)

    def look(found: jax.Array, given: tuple[End, jax.Array]) -> tuple[jax.Array, tuple]:
        end, wanted = given
        radius, upward = computed_where(wanted & ~found, growth, (end,), none)
        unstable = upward & (radius > UNSTABLE)
        return found | unstable, (radius, unstable)

    found, (radius, unstable) = lax.scan(look, jnp.zeros((), bool), (ends, wanted))
    return radius[jnp.argmax(unstable)], found


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
