"""What the loss does along flat axes, where its derivatives say nothing."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.curvature.lanczos import times
from gdjax.diagnosis.surface import Model, Surface, norm
from gdjax.trees import computed_where

MOST_AXES = 16  # the flattest
RANDOM = 8  # directions among the flat axes
TURNS = 32  # of each towards where the loss is least
REACHES = (-8, -4, -2, -1)  # powers of two, in the same units as below: how far off that is
NEAREST, FARTHEST = -29, 10  # powers of two, in units of the distances known
ABREAST = 8  # of them at once: a divisor, lest what is left be compiled once more
CLEAR = 128  # times the noise, so that a change at half the distance shows as well
STEEPER = 3.0  # times the slope here
SHARP, SUDDEN = 0.35, 1 / 512  # of a change, the part that is there at half the distance


class Probes(NamedTuple):
    """What the first change of the loss is along some directions; all bool []."""

    rises: jax.Array  # whether it rises along any
    sharply: jax.Array  # whether it rises along all, and at once, as at a kink
    falls: jax.Array  # whether it falls along any as a power of the distance
    slides: jax.Array  # whether it falls along any in another way: a slope, or a plateau's edge


def nothing_seen() -> Probes:
    """Return what there is to see where nothing is probed."""
    return Probes(*[jnp.zeros((), bool)] * len(Probes._fields))


def probed(
    at: Surface,
    x: jax.Array,
    here: jax.Array,
    directions: jax.Array,
    noise: jax.Array,
    scale: jax.Array,
    curvature: jax.Array,
) -> Probes:
    """Return how the loss changes away from a critical point along flat directions [n, dim].

    `here` is the loss there, and `scale` a distance to compare others with. A direction of zeros
    is none. Up to `curvature` may be left along them.
    """
    directions = jnp.concatenate([directions, -directions])
    distances = (2.0 ** jnp.arange(NEAREST, FARTHEST + 1)).astype(x.dtype) * scale
    allowed = CLEAR * noise + curvature * distances[1:] ** 2

    def change(direction: jax.Array) -> tuple[jax.Array, jax.Array]:
        there = lax.map(lambda t: at.loss(x + t * direction), distances, batch_size=ABREAST)
        changes = jnp.where(jnp.isfinite(there), there - here, jnp.inf)
        clear = jnp.abs(changes[1:]) >= allowed
        first = jnp.argmax(clear)
        return jnp.where(jnp.any(clear), changes[1:][first], 0), changes[first]

    looked_at = jnp.any(directions != 0, axis=1)
    none = jnp.zeros_like(here), jnp.zeros_like(here)
    far, half = lax.map(
        lambda own: computed_where(own[0], change, own[1:], none), (looked_at, directions)
    )
    part = jnp.where(far == 0, 0, half / jnp.where(far == 0, 1, far))
    sharp, sudden = part >= SHARP, part <= SUDDEN
    # With nothing on the other side, it is the edge of a plateau.
    sudden |= jnp.roll(far, len(far) // 2) == 0
    return Probes(
        rises=jnp.any(far > 0),
        sharply=jnp.all(~looked_at | ((far > 0) & sharp)),
        falls=jnp.any((far < 0) & ~sharp & ~sudden),
        slides=jnp.any((far < 0) & (sharp | sudden)),
    )


def flat_directions(at: Surface, x: jax.Array, m: Model, scale: jax.Array) -> jax.Array:
    """Return directions [n, dim] within the span of the flat axes; 0 where there are fewer.

    They are axes and, if there are several, random ones and those that lead down from there.
    """
    dim = m.flat.size
    flattest = jnp.argsort(jnp.abs(m.curvatures))[: min(dim, MOST_AXES)]
    axes = jnp.where(m.flat[flattest, None], m.axes.T[flattest], 0)
    random = jax.random.normal(jax.random.key(0), (RANDOM, dim), m.axes.dtype)
    random = jnp.where(m.flat & (jnp.sum(m.flat) > 1), random, 0)
    mixed = unit_rows(times(random, m.axes.T))

    def within(gradient: jax.Array) -> jax.Array:
        return times(m.axes, jnp.where(m.flat, times(gradient, m.axes), 0))

    down = turned_down(at, x, mixed, scale, within)
    # What is rounding of each turn adds up, and stiff axes beside it hide how the loss falls.
    return jnp.concatenate([axes, mixed, unit_rows(lax.map(within, down))])


def turned_down(
    at: Surface,
    x: jax.Array,
    directions: jax.Array,
    scale: jax.Array,
    within: Callable[[jax.Array], jax.Array],
    turns: int = TURNS,
) -> jax.Array:
    """Return directions [n, dim] turned towards where the loss is least, on spheres around x.

    A direction of zeros is none, and stays so.

    Few of the axes and of the random directions in a large kernel are near one along which the loss
    falls, if it rises along others. The gradients are taken `within` it.
    """
    reaches = jnp.resize(jnp.array(REACHES, x.dtype), (len(directions),))

    def turn(number: jax.Array, carry: tuple) -> tuple:
        direction, reach = carry
        gradient = within(jax.grad(at.loss)(x + reach * direction))
        across = gradient - jnp.sum(gradient * direction) * direction
        length = norm(across)
        step = jnp.where(length > 0, across / jnp.where(length > 0, length, 1), 0)
        moved = direction - step / (1 + number)
        return unit_rows(jnp.where(jnp.all(jnp.isfinite(moved)), moved, direction)[None])[0], reach

    def turned(given: tuple[jax.Array, jax.Array]) -> jax.Array:
        return computed_where(
            jnp.any(given[0] != 0),
            lambda *given: lax.fori_loop(0, turns, turn, given)[0],
            given,
            given[0],
        )

    return lax.map(turned, (directions, scale * 2.0**reaches))


def unit_rows(rows: jax.Array) -> jax.Array:
    """Return the rows in unit length; those of zeros as they are."""
    length = norm(rows, axis=1)[:, None]
    return rows / jnp.where(length > 0, length, 1)


class Downhill(NamedTuple):
    """What the loss does along the gradient; bool []."""

    lifts: jax.Array  # whether it falls `STEEPER` times as steeply later, while it only falls
    endless: jax.Array  # whether it falls ever more steeply, as far as one looks


def downhill(
    at: Surface,
    x: jax.Array,
    here: jax.Array,
    gradient: jax.Array,
    noise: jax.Array,
    scale: jax.Array,
) -> Downhill:
    """Return what tells a plateau from the last of a descent, and from an abyss."""
    steepness = norm(gradient)
    direction = -gradient / jnp.where(steepness > 0, steepness, 1)
    distances = (2.0 ** jnp.arange(NEAREST, FARTHEST + 1)).astype(x.dtype) * scale
    there = lax.map(lambda t: at.loss(x + t * direction), distances, batch_size=ABREAST)
    falls = -jnp.diff(there, prepend=here)
    slopes = falls / jnp.diff(distances, prepend=jnp.zeros(1, distances.dtype))
    falling = jnp.cumsum(~(falls >= -noise)) == 0
    steeper = (falls > CLEAR * noise) & (slopes > STEEPER * steepness)
    return Downhill(
        lifts=jnp.any(falling & steeper),
        endless=falling[-1] & (slopes[-1] > slopes[-2]) & (slopes[-2] > slopes[-3]),
    )
