"""Whether the noise of mini-batches is what moves a run."""

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Descent
from gdjax.descent.stepping import arguments
from gdjax.diagnosis.end import End
from gdjax.losses import ascent_direction
from gdjax.trees import real_vector

SAMPLES = 16  # batches


def batch_noise(d: Descent, end: End, gradient: jax.Array) -> jax.Array:
    """Return the root mean square deviation of the gradients of batches from `gradient`."""

    def square(number: jax.Array) -> jax.Array:
        args = arguments(d, end.steps + number)
        own = real_vector(ascent_direction(d.loss, end.params, args))[0]
        return jnp.sum((own - gradient) ** 2)

    return jnp.sqrt(jnp.mean(lax.map(square, jnp.arange(SAMPLES, dtype=jnp.int32))))
