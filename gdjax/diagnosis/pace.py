"""How the schedule of an optimizer goes on: what steps ahead come to."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.descent import Descent, State
from gdjax.diagnosis.end import update_of
from gdjax.diagnosis.fields import is_count

OCTAVES, PARTS = 30, 4  # of the number of steps ahead; between two of these the pace is a line
MOST_GROWTH = 60.0  # logarithm of that of a step: by then all that decays has decayed


class Pace(NamedTuple):
    """What steps ahead come to, in steps as long as a stretch before."""

    growth: jax.Array  # [] exponent by which each step is longer than the one before
    ahead: jax.Array  # [n] numbers of steps, as they grow
    lengths: jax.Array  # [n] of all of these together
    last: jax.Array  # [] of each one after them, but for that growth

    def of(self, steps: jax.Array) -> jax.Array:
        """Return the length of so many steps."""
        grown = as_they_grow(steps, self.growth)
        beyond = jnp.maximum(grown - self.ahead[-1], 0) * self.last
        return jnp.interp(grown, self.ahead, self.lengths) + beyond

    def until(self, length: jax.Array) -> jax.Array:
        """Return how many steps that do not grow are as long as that, inf where they never are."""
        beyond = jnp.maximum(length - self.lengths[-1], 0)
        beyond = jnp.where(beyond > 0, beyond / self.last, 0)
        return jnp.interp(length, self.lengths, self.ahead) + beyond


def as_they_grow(steps: jax.Array, growth: jax.Array) -> jax.Array:
    """Return the length of so many steps that grow exponentially, in those now."""
    exponent = jnp.minimum(growth * steps, MOST_GROWTH)
    return jnp.where(growth > 0, jnp.expm1(exponent) / growth, steps)


def pace_of(d: Descent, state: State, stretch: jax.Array, growth: jax.Array) -> Pace:
    """Return what the steps of a plain descent come to from a state on.

    Beside its schedule each step is longer than the one before by the exponent `growth`.
    """
    before = update_of(d, _moved_on(state, -stretch.astype(jnp.int32)))
    square = jnp.sum(before**2)

    def length(steps: jax.Array) -> jax.Array:
        """Return the length of the step that is made in the same place so many steps later."""
        later = update_of(d, _moved_on(state, steps))
        return jnp.maximum(jnp.sum(later * before) / jnp.where(square > 0, square, 1), 0)

    numbers = np.unique(np.floor(2.0 ** (np.arange(OCTAVES * PARTS + 1) / PARTS)).astype(np.int32))
    numbers = jnp.asarray(np.concatenate([[0], numbers]), jnp.int32)
    each = lax.map(length, numbers).astype(stretch.dtype)
    ahead = as_they_grow(numbers.astype(stretch.dtype), growth)
    pieces = (each[1:] + each[:-1]) / 2 * jnp.diff(ahead)
    lengths = jnp.concatenate([jnp.zeros(1, stretch.dtype), jnp.cumsum(pieces)])
    return Pace(growth, ahead, lengths, each[-1])


def _moved_on(state: State, steps: jax.Array) -> State:
    """Return the state with what counts the steps moved on by so many."""

    def moved(path: tuple, leaf: Any) -> Any:
        if not is_count(path):
            return leaf
        most = jnp.iinfo(leaf.dtype).max
        return jnp.maximum(leaf + jnp.minimum(steps, most - leaf).astype(leaf.dtype), 0)

    return state._replace(opt_state=jax.tree_util.tree_map_with_path(moved, state.opt_state))
