"""Where a run began: what its end is compared with."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Descent
from gdjax.descent.stepping import arguments
from gdjax.diagnosis.end import End, is_noisy
from gdjax.diagnosis.surface import largest_entry, norm, surface
from gdjax.losses import value

SAMPLES = 16  # batches
SCATTER = 6.0  # standard deviations above these, what the highest loss of many batches may be


class Start(NamedTuple):
    """The start of a run."""

    loss: jax.Array
    highest: jax.Array  # that the loss of a batch may be; `loss` where it is of all examples
    grad_norm: jax.Array
    scale: jax.Array  # of distances: how far the end is from the start, and from 0


def start_of(d: Descent, end: End) -> Start:
    """Return the start of the run."""
    at, first = surface(d, d.params)
    loss, gradient = jax.value_and_grad(at.loss)(first)
    _, last = surface(d, end.params)
    scale = norm(last) + norm(last - first)
    return Start(
        loss=loss,
        highest=_highest(d).astype(loss.dtype) if is_noisy(d.batches) else loss,
        grad_norm=largest_entry(d.params, gradient),
        scale=jnp.where(scale > 0, scale, 1),
    )


def _highest(d: Descent) -> jax.Array:
    def loss(number: jax.Array) -> jax.Array:
        return value(d.loss, d.params, arguments(d, number))

    losses = lax.map(loss, jnp.arange(SAMPLES, dtype=jnp.int32))
    return jnp.max(losses) + SCATTER * jnp.std(losses)
