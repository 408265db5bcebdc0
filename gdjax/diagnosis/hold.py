"""Whether a run would stay where it stopped."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Descent
from gdjax.diagnosis.end import End, next_update, plain, remembers, with_rates
from gdjax.diagnosis.stability import UNSTABLE, growth_at
from gdjax.diagnosis.surface import Surface
from gdjax.trees import computed_where

LIMIT = 2.002  # of rate × curvature, for updates without memory; with memory it is higher
TURNS = 4  # of a power iteration: half of the limit of Adam is soon seen


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

    The rate times the largest curvature must be below the limit of stability; of an optimizer that
    remembers, whose limit is not known, deviations must not grow above that. Nor must such a one be
    passing through: its step may cost no more than `few` of the loss.
    """
    if remembers(end.opt_state):
        update, rates = (found.astype(x.dtype) for found in with_rates(d, end))
        moved = product(update)
        costs = jnp.abs(jnp.sum(update * moved)) / 2
        # At a degenerate minimum the quadratic model does not see them.
        costs = jnp.maximum(costs, jnp.abs(at.loss(x + update) - loss))
        stiff = jnp.max(rates) * largest > LIMIT  # at most
        decays = partial(_decays, plain(d), product)
        held = computed_where(stiff, decays, (end, rates), jnp.ones((), bool))
        return (costs <= few) & held, jnp.asarray(jnp.nan, update.dtype)
    update = next_update(d, end).astype(x.dtype)
    moved = product(update)
    unit = 1 / jnp.max(jnp.abs(gradient))
    gradient, update, later = unit * gradient, unit * update, unit * (gradient + moved)
    square = jnp.sum(gradient**2)
    rate = -jnp.sum(update * gradient) / square
    cosine = jnp.sum(gradient * later) / jnp.sqrt(square * jnp.sum(later**2))
    return ~(rate * largest > LIMIT), cosine


def _decays(
    d: Descent, product: Callable[[jax.Array], jax.Array], end: End, rates: jax.Array
) -> jax.Array:
    """Return whether deviations from the end of a plain descent do not grow."""
    stiff = _stiffness(product, rates) > LIMIT
    steady = jnp.ones_like(rates[0]), jnp.zeros((), bool)
    growth, _ = computed_where(stiff, partial(growth_at, d), (end,), steady)
    return growth <= UNSTABLE


def _stiffness(product: Callable[[jax.Array], jax.Array], rates: jax.Array) -> jax.Array:
    """Return about the largest curvature where each entry is scaled by the root of its rate."""
    scale = jnp.sqrt(jnp.maximum(rates, 0))

    def turn(_: int, vector: jax.Array) -> jax.Array:
        image = scale * product(scale * vector)
        largest = jnp.max(jnp.abs(image))
        return image / jnp.where(largest > 0, largest, 1)

    begin = jax.random.normal(jax.random.key(0), scale.shape, scale.dtype)
    vector = lax.fori_loop(0, TURNS, turn, begin)
    return jnp.sum(vector * scale * product(scale * vector)) / jnp.sum(vector**2)
