"""How much of the noise of its batches stochastic gradient descent keeps along one axis.

With the learning rate η and a curvature λ along it, an update takes the distance to the minimum and
the momentum to a linear function of both, and adds noise. Batches of one epoch have no example in
common: the covariance of two of them is −σ²/(N − 1), and a whole epoch of equal weights would add
nothing. Matrices A of near 1 are kept as A − 1, so that slow axes are as exact as fast ones.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gdjax import checks
from gdjax.advice.dynamics import Dynamics
from gdjax.batches import Batches, Order

DOUBLINGS = 64  # of the time, after which all has settled that settles


@dataclass(frozen=True)
class Epoch:
    """The noise of an epoch's batches, in variances of the gradient of one example."""

    length: int  # batches; those of two epochs are independent
    each: float  # variance of one batch, less its covariance with another of the same epoch
    drawback: float  # share of it by which each further one makes up for those before
    last: float = 1.0  # examples of the last batch, in those of each other


@dataclass(frozen=True)
class Momentum:
    """How gradients add up, as `optax.trace` has it."""

    decay: Any = 0.0
    nesterov: bool = False

    def update(self, reach: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return an update less 1, [..., 2, 2], what noise adds, [2], and whether it is stable.

        It is that of the distance to the minimum, in learning rates, and of the momentum, where
        the learning rate times the curvature is `reach` [...].
        """
        decay = jnp.asarray(self.decay, reach.dtype)
        pull, keep = (1 + decay, decay**2) if self.nesterov else (jnp.ones_like(decay), decay)
        keep, lost = jnp.broadcast_to(keep, reach.shape), jnp.broadcast_to(1 - decay, reach.shape)
        change = jnp.array([[-pull * reach, -keep], [reach, -lost]])
        dynamics = Dynamics(decay, jnp.bool_(self.nesterov), jnp.bool_(False))
        stable = (reach > 0) & (reach < dynamics.largest_reach())
        return (
            jnp.moveaxis(change, (0, 1), (-2, -1)),
            jnp.stack([-pull, jnp.ones_like(pull)]),
            stable,
        )


def epoch_of(batches: Batches) -> Epoch:
    """Return the noise of batches that are drawn at random, or of the one batch of all examples.

    Raises:
      TypeError: their size is traced.
    """
    examples, plan = batches.examples, batches.plan
    if not checks.is_concrete(plan.count):
        raise TypeError("batches: expected a batch size that is known, got a traced one")
    size, length = int(plan.size if plan.count is None else plan.count), int(plan.per_epoch)
    if batches.order is Order.REPLACED:
        return Epoch(1, 1 / size, 0.0)
    if batches.order is Order.SUBSETS:
        return Epoch(1, (examples - size) / (size * max(examples - 1, 1)), 0.0)
    each = examples / (size * max(examples - 1, 1))
    last = (examples - (length - 1) * size) / size if plan.pad else 1.0
    return Epoch(length, each, size / examples, last)


def excess(
    reach: jax.Array, flat: jax.Array, epoch: Epoch, steps: int, momentum: Momentum = Momentum()
) -> tuple[jax.Array, ...]:
    """Return ηλ E x² / η² after so many steps from x = 0, and where it settles.

    Args:
      reach: ηλ, any shape.
      flat: of the same shape, whether λ is 0 but for its error: there the loss settles as slowly
        as one likes, and has the limit for small λ.
      epoch: the noise of the batches.
      steps: updates.
      momentum: that of the optimizer.

    Returns:
      Both in variances of the gradient of one example; the second is the mean over an epoch, inf
      where nothing settles.
    """
    reach = jnp.asarray(reach)
    change, push, stable = momentum.update(reach)
    push = jnp.broadcast_to(push, (*reach.shape, 2))
    epochs, rest = divmod(steps, epoch.length)

    def one_more(number: jax.Array, carry: tuple) -> tuple:
        """Move on by an update, with the noise of one more batch of an epoch."""
        seen, mean, scatter, total, at_rest = carry
        mean = mean + times(change, mean[..., None])[..., 0]
        share = jnp.where(number == epoch.length - 1, epoch.last, 1.0).astype(reach.dtype)
        off = push / share - mean  # Welford's update: no cancellation
        scatter = carried(change, scatter) + share * seen / (seen + share) * _outer(off)
        seen, mean = seen + share, mean + share / (seen + share) * off
        now = epoch.each * (scatter + seen * (1 - seen * epoch.drawback) * _outer(mean))
        return seen, mean, scatter, total + now, jnp.where(number + 1 == rest, now, at_rest)

    none, nothing = jnp.zeros((), reach.dtype), jnp.zeros_like(change)
    begun = none, jnp.zeros_like(change[..., 0]), nothing, nothing, nothing
    seen, mean, scatter, total, at_rest = lax.fori_loop(0, epoch.length, one_more, begun)
    whole = epoch.each * (scatter + seen * (1 - seen * epoch.drawback) * _outer(mean))

    turn = repeated(change, nothing, epoch.length)[0]
    covariance = repeated(turn, whole, epochs)[1]
    after = carried(repeated(change, nothing, rest)[0], covariance) + at_rest
    after = reach * after[..., 0, 0]
    # What is not stable may overflow on the way.
    after = jnp.where(jnp.isnan(after) & jnp.isfinite(reach), jnp.inf, after)

    def later(_: jax.Array, carry: tuple) -> tuple:
        covariance, total = carry
        covariance = carried(change, covariance)
        return covariance, total + covariance

    total = lax.fori_loop(0, epoch.length, later, (_settled(turn, whole), total))[1]
    settled = reach * total[..., 0, 0] / epoch.length
    return after, jnp.where(flat, _limit(epoch, momentum), jnp.where(stable, settled, jnp.inf))


def carried(change: jax.Array, covariance: jax.Array) -> jax.Array:
    """Return A S Aᵀ of S [..., 2, 2], where A is 1 + `change`."""
    half = covariance + times(change, covariance)
    return half + times(half, jnp.swapaxes(change, -1, -2))


def repeated(change: jax.Array, added: jax.Array, often: int) -> tuple[jax.Array, jax.Array]:
    """Return Aⁿ − 1, and the covariance after n updates that each add some: A is 1 + `change`."""
    digits = jnp.array([int(digit) for digit in f"{often:b}"], jnp.int32)

    def double(place: jax.Array, carry: tuple) -> tuple:
        so_far, covariance = carry
        covariance = covariance + carried(so_far, covariance)
        so_far = _composed(so_far, so_far)
        once_more = _composed(so_far, change), added + carried(change, covariance)
        odd = digits[place] == 1
        return jax.tree.map(lambda x, y: jnp.where(odd, x, y), once_more, (so_far, covariance))

    begun = jnp.zeros_like(change), jnp.zeros_like(change)
    return lax.fori_loop(0, len(digits), double, begun)


def times(one: jax.Array, other: jax.Array) -> jax.Array:
    """Return the products of small matrices; XLA takes longer to compile true ones."""
    return jnp.sum(one[..., :, :, None] * other[..., None, :, :], axis=-2)


def _composed(one: jax.Array, other: jax.Array) -> jax.Array:
    return one + other + times(one, other)


def _settled(turn: jax.Array, whole: jax.Array) -> jax.Array:
    """Return S = A S Aᵀ + `whole`, where A is 1 + `turn`."""

    def double(_: jax.Array, carry: tuple) -> tuple:
        turn, covariance = carry
        return _composed(turn, turn), covariance + carried(turn, covariance)

    return lax.fori_loop(0, DOUBLINGS, double, (turn, whole))[1]


def _limit(epoch: Epoch, momentum: Momentum) -> Any:
    """Return where the loss settles as the curvature goes to 0."""
    length, uneven = epoch.length, 1 / epoch.last - 1
    left = epoch.each * max(length * (1 - length * epoch.drawback) + uneven, 0.0)
    return left / (2 * length * (1 - momentum.decay))


def _outer(vector: jax.Array) -> jax.Array:
    return vector[..., :, None] * vector[..., None, :]
