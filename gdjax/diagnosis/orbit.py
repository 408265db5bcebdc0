"""Whether an orbit is periodic, by how nearly it comes back to where it was."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

LONGEST_PERIOD = 32
WINDOW = 2 * LONGEST_PERIOD  # steps
EVERY = 2  # of the last steps is compared: in all windows at the same places of even periods
NEAR = 1e-3  # of an orbit's width, how nearly it comes back
TIES = 4.0  # how much farther than the nearest return a shorter one may come back
STEADY = 0.02  # of its longest step, how much an orbit may change in a window
SETTLING, LATE = 0.25, 0.98  # of how far from its period the orbit was a window ago
SHRINKING = 5.0  # times as much it must settle as its steps change, as a shrinking orbit does not
ROUNDED = 32.0  # roundings of the parameters within which an orbit is closed
SAME = 1e-9  # of its width, likewise
HELD_UP = 4.0  # of what the roundings of all steps add up to, likewise
AT_MOST = 1e-4  # of its width, that
MARGINAL = 1.0  # logarithm of the growth of a deviation in a window, at a cycle that attracts


class Orbit(NamedTuple):
    """How an orbit comes back to where it was, in a window of steps."""

    returns: jax.Array  # [LONGEST_PERIOD] how far from where it was 1, 2, … steps before, at most
    period: jax.Array  # int32 [] the shortest of the nearest returns
    width: jax.Array  # [] of the orbit, in the direction in which returns are seen
    stride: jax.Array  # [] longest step
    within: jax.Array  # [] how far it may be from where it was, if but for rounding it is there
    growth: jax.Array  # [] of a deviation in a step, its logarithm, over whole periods


def orbit(
    places: jax.Array,
    growth: jax.Array,
    stride: jax.Array,
    rounding: jax.Array,
    sensitivity: jax.Array,
) -> Orbit:
    """Return the orbit of a window.

    A return is the farthest that any of many steps is from where it comes back to: on a cycle it is
    the same from wherever one goes round, and chance does not bring all of them near.

    Args:
      places: [WINDOW] along some direction, after each step.
      growth: likewise of a deviation since the window began, its logarithm.
      stride: longest step.
      rounding: of the parameters.
      sensitivity: what an error of 1 in each step adds up to.
    """
    backwards = places[::-1]
    returns = jnp.zeros(LONGEST_PERIOD, places.dtype)
    for last in range(0, LONGEST_PERIOD, EVERY):
        before = backwards[last + 1 : last + 1 + LONGEST_PERIOD]
        away = jnp.abs(backwards[last] - before)
        returns = jnp.where(away > returns, away, returns)  # quicker than a maximum
    width = jnp.max(places) - jnp.min(places)
    # Roundings can hold it up on either side of a cycle that attracts weakly.
    held_up = jnp.minimum(HELD_UP * sensitivity * rounding, AT_MOST * width)
    within = jnp.maximum(ROUNDED * rounding, SAME * width)
    within = jnp.maximum(within, jnp.where(growth[-1] < MARGINAL, held_up, 0))
    nearest = jnp.maximum(TIES * jnp.min(returns), within)
    period = 1 + jnp.argmax(returns <= nearest).astype(jnp.int32)
    whole = WINDOW // period * period
    return Orbit(returns, period, width, stride, within, growth[whole - 1] / whole)


class Closure(NamedTuple):
    """Whether an orbit is periodic, and its period."""

    closed: jax.Array  # bool []
    period: jax.Array  # int32 []


def closure(before: Orbit, now: Orbit, late: jax.Array) -> Closure:
    """Return whether the orbit is periodic, given two windows.

    An orbit that shrinks to a point comes back farther from where it was at each return than one
    that settles on a cycle; where that takes long it is believed `late`, if its steps change less.
    One that settles from alternate sides is nearer at every second return: its period is the
    shortest at which it settles.
    """
    moves = now.width > now.within
    changed = jnp.abs(now.stride - before.stride) / before.stride
    alike = (now.period == before.period) & (changed <= STEADY)
    lately = jnp.minimum(LATE, 1 - SHRINKING * changed)
    shrinks = now.returns <= lately * before.returns
    exact = jnp.maximum(before.returns, now.returns) <= now.within
    steps = 1 + jnp.arange(LONGEST_PERIOD, dtype=jnp.int32)
    shorter = (shrinks | exact) & (now.period % steps == 0)
    at = jnp.where(jnp.any(shorter), jnp.argmax(shorter), now.period - 1)
    near = now.returns[at] <= jnp.where(late, 10 * NEAR, NEAR) * now.width
    # In chaos an orbit comes near by chance, but deviations grow, then or before.
    settles = jnp.where(late, shrinks, now.returns <= SETTLING * before.returns)[at]
    settles &= WINDOW * jnp.maximum(before.growth, now.growth) < MARGINAL
    return Closure(moves & alike & near & (exact[at] | settles), steps[at])
