"""What is true beside the verdict."""

import jax

from gdjax.diagnosis.end import End
from gdjax.diagnosis.start import Start

ZIGZAG, UNEVEN, CROSSWISE = 5.0, 100.0, 0.2  # conditions, and the cosine of consecutive steps
SPIKE = 1e-3  # of the descent, by which the loss must have risen above the start


def ill_conditioned(condition: jax.Array, alignment: jax.Array) -> jax.Array:
    """Return whether curvatures far apart make steps zigzag, or crawl."""
    return (condition >= UNEVEN) | ((condition >= ZIGZAG) & (alignment <= CROSSWISE))


def spiked(end: End, start: Start, loss: jax.Array, noise: jax.Array) -> jax.Array:
    """Return whether the loss rose above that of the start before it fell below."""
    rise, fall = end.peak - start.highest, start.loss - loss
    return (fall > 0) & (rise > SPIKE * fall + noise)
