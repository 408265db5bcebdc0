"""What edge tracking remembers between two descents: a bracket of the border, and what is found."""

from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gdjax.basins.stationary import Stationary
from gdjax.descent import Descent, State
from gdjax.diagnosis.surface import norm, surface

NARROW = 0.75  # power of the machine epsilon: the width of a bracket that is bisected, in scales


class Tracked(NamedTuple):
    """Where the border led."""

    starts: Stationary  # [2] where the two starts end
    point: Stationary  # the critical point on the border
    falls: Stationary  # [2] where descents end that leave it along its least curvature
    has_border: jax.Array  # bool [] whether the ends of nearby starts differ at all
    rounds: jax.Array  # int32 []
    scale: jax.Array  # distance that others are compared with


class Task(IntEnum):
    """What the next descent is for."""

    ONE = 0  # the end of the first start
    OTHER = 1  # that of the second
    HALVE = 2  # on which side of the border the middle is
    POLISH = 3  # no descent, but only Newton's method from the border
    FALL = 4  # where the saddle falls to
    FALL_BACK = 5  # on its other side
    DONE = 6


class Turn(NamedTuple):
    """What is known before the next descent."""

    task: jax.Array
    sides: State  # [2, ...] the bracket, on either side of the border
    ends: Stationary  # [2, ...] where they end
    undecided: Stationary  # the last end of this round that was not a minimum's, if any arrived
    halvings: jax.Array  # in this round
    misses: jax.Array  # undecided ends in a row
    push: jax.Array
    found: Tracked
    repeats: jax.Array  # of one critical point


def same(pair: Stationary, scale: jax.Array) -> jax.Array:
    """Return whether two points [2, ...] are one, up to their errors."""
    one, other = pair.vector
    rounding = jnp.finfo(one.dtype).eps ** NARROW * scale
    return norm(one - other) <= 8 * jnp.sum(pair.error) + rounding


def are_same(ones: Stationary, others: Stationary, scale: jax.Array) -> jax.Array:
    """Return the same for each of some points [n, ...] and others, bool [n, m]."""

    def both(one: Stationary, other: Stationary) -> jax.Array:
        return same(jax.tree.map(lambda a, b: jnp.stack([a, b]), one, other), scale)

    return jax.vmap(lambda one: jax.vmap(lambda other: both(one, other))(others))(ones)


def eps_of(d: Descent) -> float:
    """Return the machine epsilon of the parameters."""
    return surface(d, d.params)[0].eps


def vectors_of(d: Descent, sides: State) -> jax.Array:
    """Return the parameters of both sides, real vectors [2, dim]."""
    return jax.vmap(lambda params: surface(d, params)[1])(sides.params)


def width_of(d: Descent, sides: State) -> jax.Array:
    """Return how far apart both sides are."""
    return norm(jnp.subtract(*vectors_of(d, sides)))


def narrow(d: Descent, vector: jax.Array, scale: jax.Array) -> jax.Array:
    """Return how far apart they may be to count as one point."""
    return jnp.maximum(eps_of(d) ** NARROW * scale, 8 * eps_of(d) * jnp.max(jnp.abs(vector)))


def named(task: Task) -> jax.Array:
    """Return the task as an array."""
    return jnp.asarray(task, jnp.int32)
