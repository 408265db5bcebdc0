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
SAME = 1e-9  # of its size, likewise: where it is about to double its period, roundings grow
MARGINAL = 1.0  # logarithm of the growth of a deviation in a window, at a cycle that attracts
RESTING = 4.0  # roundings of the parameters within which nothing moves


class Orbit(NamedTuple):
    """How an orbit comes back to where a window begins."""

    distances: jax.Array  # [LONGEST_PERIOD] from there, after 1, 2, … steps
    period: jax.Array  # int32 [] the shortest of the nearest returns
    size: jax.Array  # [] largest distance
    stride: jax.Array  # [] longest step, the same from wherever one goes round a cycle
    rounding: jax.Array  # [] of the parameters
    growth: jax.Array  # [] of a deviation in a step, its logarithm, over whole periods


def orbit(distances: jax.Array, growth: jax.Array, stride: jax.Array, rounding: jax.Array) -> Orbit:
    """Return the orbit of a window.

    Args:
      distances: [LONGEST_PERIOD], after 1, 2, … steps from where it begins.
      growth: likewise of a deviation since then, its logarithm.
      stride: longest step.
      rounding: of the parameters.
    """
    size = jnp.max(distances)
    nearest = jnp.maximum(TIES * jnp.min(distances), _closed_within(size, rounding))
    period = 1 + jnp.argmax(distances <= nearest).astype(jnp.int32)
    whole = LONGEST_PERIOD // period * period
    rate = growth[whole - 1] / whole
    return Orbit(distances, period, size, stride, rounding, rate)


class Closure(NamedTuple):
    """Whether an orbit is periodic, and its period."""

    closed: jax.Array  # bool []
    period: jax.Array  # int32 []


def closure(before: Orbit, now: Orbit, growth: jax.Array, late: jax.Array, window: int) -> Closure:
    """Return whether the orbit is periodic, given two windows and the growth in the second.

    An orbit that shrinks to a point comes back farther from where it was at each return than one
    that settles on a cycle; where that takes long it is believed `late`, if its steps change less.
    One that settles from alternate sides is nearer at every second return: its period is the
    shortest at which it settles, where the windows begin at the same place of the cycle.
    """
    moves = now.size > ROUNDED * now.rounding
    changed = jnp.abs(now.stride - before.stride) / before.stride
    alike = (now.period == before.period) & (changed <= STEADY)
    lately = jnp.minimum(LATE, 1 - SHRINKING * changed)
    shrinks = now.distances <= lately * before.distances
    within = _closed_within(now.size, now.rounding)
    exact = jnp.maximum(before.distances, now.distances) <= within
    steps = 1 + jnp.arange(LONGEST_PERIOD, dtype=jnp.int32)
    shorter = (shrinks | exact) & (now.period % steps == 0) & (window % now.period == 0)
    at = jnp.where(jnp.any(shorter), jnp.argmax(shorter), now.period - 1)
    near = now.distances[at] <= jnp.where(late, 10 * NEAR, NEAR) * now.size
    # In chaos an orbit comes near by chance, but deviations grow.
    settles = jnp.where(late, shrinks, now.distances <= SETTLING * before.distances)[at]
    holds = exact[at] | (settles & (growth < MARGINAL))
    return Closure(moves & alike & near & holds, steps[at])


def _closed_within(size: jax.Array, rounding: jax.Array) -> jax.Array:
    return jnp.maximum(ROUNDED * rounding, SAME * size)


def is_resting(now: Orbit) -> jax.Array:
    """Return whether nothing moves but the last digits."""
    return now.size <= RESTING * now.rounding
