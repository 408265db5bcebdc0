"""How much of the noise of its batches stochastic gradient descent keeps along one axis.

With the learning rate η and a curvature λ along it, an update multiplies the distance to the
minimum by ρ = 1 − ηλ and adds noise. Batches of one epoch have no example in common: the
covariance of two of them is −σ²/(N − 1), and a whole epoch of equal weights would add nothing.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.batches import Batches, Order


@dataclass(frozen=True)
class Epoch:
    """The noise of an epoch's batches, in variances of the gradient of one example."""

    length: int  # batches; those of two epochs are independent
    each: float  # variance of one batch, less its covariance with another of the same epoch
    drawback: float  # share of it by which each further one makes up for those before


def epoch_of(batches: Batches) -> Epoch:
    """Return the noise of batches that are drawn at random, or of the one batch of all examples."""
    examples, size = batches.examples, batches.size
    if batches.order is Order.REPLACED:
        return Epoch(1, 1 / size, 0.0)
    each = examples / (size * max(examples - 1, 1))
    return Epoch(batches.per_epoch, each, size / examples)


def excess(reach: jax.Array, flat: jax.Array, epoch: Epoch, steps: int) -> tuple[jax.Array, ...]:
    """Return ηλ E x² / η² after so many steps from x = 0, and where it settles.

    Args:
      reach: ηλ, any shape.
      flat: of the same shape, whether λ is 0 but for its error: there the loss settles as slowly
        as one likes, and has the limit for small λ.
      epoch: the noise of the batches.
      steps: updates.

    Returns:
      Both in variances of the gradient of one example; the second is the mean over an epoch, inf
      where nothing settles.
    """
    rho = 1 - reach
    epochs, rest = divmod(steps, epoch.length)

    def noise(taken: jax.Array | int, mean: jax.Array, scatter: jax.Array) -> jax.Array:
        """Return the variance after some batches of an epoch, of weights with this mean."""
        return epoch.each * (scatter + taken * mean**2 * (1 - taken * epoch.drawback))

    def one_more(taken: jax.Array, carry: tuple) -> tuple:
        power, mean, scatter, total, at_rest = carry
        now = noise(taken, mean, scatter)
        new = mean + (power - mean) / (taken + 1)  # Welford's update: no cancellation
        scatter += (power - mean) * (power - new)
        return power * rho, new, scatter, total + now, jnp.where(taken == rest, now, at_rest)

    nothing = jnp.zeros_like(rho)
    start = jnp.ones_like(rho), nothing, nothing, nothing, nothing
    _, mean, scatter, total, at_rest = lax.fori_loop(0, epoch.length, one_more, start)
    whole = noise(epoch.length, mean, scatter)
    decay = 2 * epoch.length * jnp.where(reach < 1, jnp.log1p(-reach), jnp.log(jnp.abs(rho)))
    repeated = jnp.where(decay == 0, epochs, jnp.expm1(epochs * decay) / jnp.expm1(decay))
    after = reach * (rho ** (2 * rest) * whole * (repeated if epochs else 0.0) + at_rest)
    settled = (whole / (2 - reach) + reach * total) / epoch.length
    limit = whole / (2 * epoch.length)
    return after, jnp.where(flat, limit, jnp.where((reach > 0) & (reach < 2), settled, jnp.inf))
