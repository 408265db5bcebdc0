"""Where the noise of mini-batches holds the loss up: predicted, and measured."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gdjax import checks
from gdjax.batches import Batches, Order
from gdjax.curvature import Estimate
from gdjax.curvature.extremes import LARGEST_HESSIAN, ULPS
from gdjax.curvature.lanczos import lanczos, times
from gdjax.curvature.products import columns, widened
from gdjax.curvature.small import eigh
from gdjax.descent import Descent, Status, run
from gdjax.losses import Loss, value
from gdjax.noise.examples import Examples, require_batches
from gdjax.noise.response import Epoch, Momentum, epoch_of, excess
from gdjax.trees import PyTree, inner

PROBED = 16  # examples, where the Hessian is too large to be had as a whole
KRYLOV = 32  # products with the Hessian for each of them
ABREAST = 64  # descents


class NoiseFloor(NamedTuple):
    """The loss of all examples that stochastic gradient descent is held at; see `noise_floor`."""

    minimum: jax.Array  # [] where it starts
    predicted: Estimate  # [] mean after the given number of steps
    measured: Estimate  # [] the same of descents that were run
    stationary: Estimate  # [] predicted in the long run; inf where there is none


def noise_floor(
    loss: Loss,
    params: PyTree,
    batches: Batches,
    learning_rate: Any,
    *args: Any,
    steps: int = 1000,
    chains: int = 64,
    key: jax.Array | None = None,
    momentum: Any = 0.0,
    nesterov: bool = False,
) -> NoiseFloor:
    """Return the mean loss that stochastic gradient descent rises to from a minimum.

    The prediction is that of a constant Hessian H and a constant covariance of the noise, C. Then
    the covariance S of the parameters settles where S = (1 − ηH) S (1 − ηH) + η² C, and the loss
    η/2 tr (2 − ηH)⁻¹ C above the minimum; with a momentum of β at η/2 · (1 + β) / (1 − β) times
    tr (2 (1 + β) − ηH)⁻¹ C, from the same equation of parameters and momentum together. Without
    replacement, the batches of an epoch are anticorrelated, which is taken into account and makes
    it less; so is a short last batch. It is exact where all examples have the same Hessian. Beyond
    256 parameters it is the value for small η, corrected by what 16 examples see of the Hessian.
    The measurement runs descents with keys of their own.

    Args:
      loss: function of `(params, *args, batch)` to a real scalar, the mean over the batch.
      params: pytree of floating or complex arrays: a minimum over all examples.
      batches: batches of `gdjax.batches`, drawn at random.
      learning_rate: scalar above 0, of `optax.sgd`. The level of other optimizers is not known.
      *args: further arguments of the loss.
      steps: updates of each descent. Along an axis with curvature λ the loss settles after a few
        1 / (2 · learning_rate · λ) of them.
      chains: descents, at least 2.
      key: random key of the descents and the examples; None takes `jax.random.key(0)`.
      momentum: scalar from 0 to below 1, that of `optax.sgd`.
      nesterov: whether it is Nesterov's.

    Returns:
      The losses, scalars, each with its standard error; the stationary one is the mean over an
      epoch.

    Raises:
      TypeError: an argument is of the wrong kind, such as an optimizer or a schedule for the
        learning rate; the batch size is traced.
      ValueError: there are no parameters, the learning rate is not above 0, the momentum not from 0
        to below 1, there are less than 1 step or 2 chains, or examples come in their given order,
        which is no noise.

    References:
      Mandt, Hoffman and Blei, Stochastic gradient descent as approximate Bayesian inference, 2017;
      Liu, Ziyin and Ueda, Noise and fluctuation of finite learning rate SGD, 2021.

    >>> import gdjax
    >>> loss = lambda w, batch: jnp.mean((w - batch) ** 2) / 2
    >>> drawn = gdjax.batches.stochastic(jnp.array([-1.0, 1.0]))
    >>> floor = noise_floor(loss, 0.0, drawn, 0.5)
    >>> print(f"{floor.minimum:.4f} {floor.stationary.value:.4f}")  # 1/2 more times 0.5 / (2 - 0.5)
    0.5000 0.6667
    """
    checks.function("loss", loss)
    params, batches = widened(params), require_batches(batches)
    epoch = epoch_of(batches)
    if batches.order is Order.GIVEN and epoch.length > 1:
        raise ValueError("batches: expected them drawn at random, got examples in their order")
    if callable(learning_rate) or hasattr(learning_rate, "update"):
        raise TypeError(
            "learning_rate: the level is known of gradient descent with a constant learning rate, "
            "and with momentum= and nesterov=; of no other optimizer and no schedule, "
            f"got {learning_rate!r}"
        )
    rate = checks.positive_scalar("learning_rate", learning_rate)
    momentum = checks.momentum("momentum", momentum)
    nesterov = checks.flag("nesterov", nesterov)
    steps = checks.whole_number("steps", steps, least=1)
    chains = checks.whole_number("chains", chains, least=2)
    key = checks.typed_key("key", jax.random.key(0) if key is None else key)
    # Momentum costs a copy of the parameters.
    decay = None if checks.is_concrete(momentum) and momentum == 0 else momentum
    static = loss, steps, chains, epoch, nesterov
    return _noise_floor(*static, params, batches, rate, decay, args, key)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _noise_floor(
    loss, steps, chains, epoch, nesterov, params, batches, rate, decay, args, key
) -> NoiseFloor:
    examples = Examples(loss, params, args, batches.whole)
    momentum = Momentum(0.0 if decay is None else decay, nesterov)
    whole, _, whole_args = examples.whole
    minimum = value(whole, params, whole_args)
    predicted, stationary = (
        Estimate(minimum + above.value, above.error)
        for above in _predicted(examples, epoch, rate, momentum, steps, key)
    )
    sgd = optax.sgd(rate, momentum=decay, nesterov=nesterov)

    def end(number: jax.Array) -> jax.Array:
        own = jax.random.fold_in(key, number)
        d = Descent(loss, params, sgd, args, batches=batches, stop=None, max_steps=steps, key=own)
        result = run(d)
        reached = value(whole, result.params, whole_args)
        return jnp.where(result.status == Status.DIVERGED, jnp.inf, reached)

    ends = lax.map(end, jnp.arange(chains, dtype=jnp.int32), batch_size=min(chains, ABREAST))
    measured = Estimate(jnp.mean(ends), jnp.std(ends, ddof=1) / chains**0.5)
    return NoiseFloor(minimum, predicted, measured, stationary)


def _predicted(
    examples: Examples, epoch: Epoch, rate, momentum: Momentum, steps: int, key
) -> list[Estimate]:
    """Return how far the loss is above the minimum after so many steps, and in the long run."""
    nodes, weights, variance = _spectrum(examples, key)
    eps = jnp.finfo(nodes.dtype).eps
    flat = jnp.abs(nodes) <= ULPS * eps * jnp.max(jnp.abs(nodes))
    rows, total = len(nodes), jnp.sum(weights)
    share = jnp.asarray(1 - rows / examples.number if rows > 1 else 0.0, nodes.dtype)
    found = []
    for factor in excess(rate * nodes, flat, epoch, steps, momentum):
        each = jnp.sum(jnp.where(weights > 0, weights * factor, 0), axis=1)
        ratio = jnp.sum(each) / jnp.where(total > 0, total, 1)
        # The ratio to the variance hardly differs from example to example, as each of them does.
        misses = each - ratio * jnp.sum(weights, axis=1)
        spread = jnp.sqrt(share * rows / max(rows - 1, 1) * jnp.sum(misses**2))
        error = spread / jnp.where(total > 0, total, 1) + eps * jnp.abs(ratio)
        found.append(Estimate(*(rate / 2 * variance * x for x in (ratio, error))))
    return found


def _spectrum(examples: Examples, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return how the noise is distributed over curvatures, and its variance for one example.

    The curvatures and the weights at them have one row [points] for all examples, or one for each
    that was drawn, of its squared deviation from the mean gradient as the sum.
    """
    mean, product = examples.gradient(), examples.hessian_product()
    if mean.size <= LARGEST_HESSIAN:
        matrix = columns(product, mean.size, mean.dtype)
        nodes, axes = eigh((matrix + matrix.T) / 2)
        weights = jnp.mean(examples.map(lambda d: times(d, axes) ** 2, mean), axis=0)
        return nodes[None], weights[None], jnp.sum(weights)

    def row(d: jax.Array) -> tuple[jax.Array, jax.Array]:
        krylov = lanczos(product, mean, min(KRYLOV, mean.size), key, start=d)
        nodes, inside = eigh(krylov.tridiagonal())
        return nodes, inside[0] ** 2 * inner(d, d)

    nodes, weights = examples.drawn(key, PROBED).map(row, mean, abreast=1)
    return nodes, weights, jnp.mean(examples.map(lambda d: inner(d, d), mean))
