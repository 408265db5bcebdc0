"""Whether an orbit is periodic, by how nearly it comes back to where it was."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

LONGEST_PERIOD = 32
NEAR = 1e-3  # of an orbit's size, how nearly it comes back
TIES = 4.0  # how much farther than the nearest return a shorter one may come back
STEADY = 0.02  # of its longest step, how much an orbit may change in a window
SETTLING, LATE = 0.25, 0.98  # of how far from its period the orbit was a window ago
SHRINKING = 5.0  # times as much it must settle as its steps change, as a shrinking orbit does not
ROUNDED = 32.0  # roundings of the parameters within which an orbit is closed
MARGINAL = 1.0  # logarithm of the growth of a deviation in a window, at a cycle that attracts
RESTING = 4.0  # roundings of the parameters within which nothing moves


class Orbit(NamedTuple):
    """How an orbit comes back to where a window begins."""

    period: jax.Array  # int32 [] the shortest of the nearest returns
    distance: jax.Array  # [] from there
    size: jax.Array  # [] largest distance
    stride: jax.Array  # [] longest step, the same from wherever one goes round a cycle
    rounding: jax.Array  # [] of the parameters


def orbit(distances: jax.Array, stride: jax.Array, rounding: jax.Array) -> Orbit:
    """Return the orbit whose distances [LONGEST_PERIOD] after 1, 2, … steps are given."""
    nearest = jnp.maximum(TIES * jnp.min(distances), ROUNDED * rounding)
    first = jnp.argmax(distances <= nearest)
    return Orbit(
        first.astype(jnp.int32) + 1, distances[first], jnp.max(distances), stride, rounding
    )


def is_closed(before: Orbit, now: Orbit, growth: jax.Array, late: jax.Array) -> jax.Array:
    """Return whether the orbit is periodic, given two windows and the growth in the second.

    An orbit that shrinks to a point comes back farther from where it was at each return than one
    that settles on a cycle; where that takes long it is believed `late`, if its steps change less.
    """
    moves = now.size > ROUNDED * now.rounding
    changed = jnp.abs(now.stride - before.stride) / before.stride
    alike = (now.period == before.period) & (changed <= STEADY)
    lately = jnp.minimum(LATE, 1 - SHRINKING * changed)
    settling = jnp.where(late, lately, SETTLING) * before.distance
    exact = jnp.maximum(before.distance, now.distance) <= ROUNDED * now.rounding
    near = now.distance <= jnp.where(late, 10 * NEAR, NEAR) * now.size
    # In chaos an orbit comes near by chance, but deviations grow.
    settles = (now.distance <= settling) & (growth < MARGINAL)
    return moves & alike & near & (exact | settles)


def is_resting(now: Orbit) -> jax.Array:
    """Return whether nothing moves but the last digits."""
    return now.size <= RESTING * now.rounding
