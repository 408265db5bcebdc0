"""Whether a run would stay where it stopped."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gdjax.descent import Descent
from gdjax.diagnosis.end import End, next_update, remembers
from gdjax.diagnosis.surface import Surface

LIMIT = 2.002  # of rate × curvature, for updates without memory


def hold(
    d: Descent,
    end: End,
    at: Surface,
    x: jax.Array,
    loss: jax.Array,
    gradient: jax.Array,
    product: Callable[[jax.Array], jax.Array],
    largest: jax.Array,
    few: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return whether the next updates leave the run where it is, and their alignment.

    An optimizer that remembers must not be passing through: its step may cost no more than `few`
    of the loss. Of one that does not, the rate times the largest curvature must be below the
    limit of stability.
    """
    update = next_update(d, end).astype(x.dtype)
    moved = product(update)
    if remembers(end.opt_state):
        costs = jnp.abs(jnp.sum(update * moved)) / 2
        # At a degenerate minimum the quadratic model does not see them.
        costs = jnp.maximum(costs, jnp.abs(at.loss(x + update) - loss))
        return costs <= few, jnp.asarray(jnp.nan, update.dtype)
    unit = 1 / jnp.max(jnp.abs(gradient))
    gradient, update, later = unit * gradient, unit * update, unit * (gradient + moved)
    square = jnp.sum(gradient**2)
    rate = -jnp.sum(update * gradient) / square
    cosine = jnp.sum(gradient * later) / jnp.sqrt(square * jnp.sum(later**2))
    return ~(rate * largest > LIMIT), cosine
