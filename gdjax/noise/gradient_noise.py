"""How far the gradient of a batch is from that of all examples, and which batch size pays."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdjax import checks
from gdjax.batches import Batches, Order
from gdjax.curvature import Estimate
from gdjax.curvature.extremes import LARGEST_HESSIAN
from gdjax.curvature.lanczos import times
from gdjax.curvature.products import columns, widened
from gdjax.curvature.small import eigh
from gdjax.losses import Loss
from gdjax.noise.examples import Examples, require_batches
from gdjax.trees import PyTree, inner

PROBED = 64  # examples, where the Hessian is too large to be had as a whole
SAMPLED = 1024  # examples whose own Hessians tell how far the mean of a sample may be off


class GradientNoise(NamedTuple):
    """The noise of the gradient at a point, each figure with its error; see `gradient_noise`."""

    gradient_square: Estimate  # [] |G|², of the gradient over all examples
    variance: Estimate  # [] tr Σ, of the gradient of one example
    batch_variance: Estimate  # [] the same of the gradient of one of the batches
    noise_scale: Estimate  # [] examples: tr Σ / |G|²
    critical_batch_size: Estimate  # [] examples: tr HΣ / GᵀHG


class _Pull(NamedTuple):
    """What some examples add to the moments, [rows] each: their mean is 0 over all examples."""

    variance: jax.Array  # to the mean of dᵀMd
    square: jax.Array  # to GᵀMG


class _Moments(NamedTuple):
    """What is known of the gradients of examples, with a matrix M as the metric."""

    spread: jax.Array  # [rows] dᵀMd of the deviation d of an example from the mean G
    signal: jax.Array  # [] GᵀMG
    rounding: jax.Array  # [] how far the last may be off
    pull: _Pull | None  # None where the data are no sample


def gradient_noise(
    loss: Loss,
    params: PyTree,
    batches: Batches,
    *args: Any,
    sample: bool = False,
    key: jax.Array | None = None,
) -> GradientNoise:
    """Return the noise of the gradient over batches, and the batch size up to which it pays.

    Far below the critical batch size, a batch of twice the size saves half of the updates; far
    above, none. With curvature the same along all axes it is the noise scale, the ratio of the
    variance of an example's gradient to the square of the mean one.

    It takes the gradient of every example, a few at a time. Up to 256 parameters, all of it is
    exact for the data given; beyond, the noise in the metric of the Hessian is that of 64
    examples, drawn at random.

    Args:
      loss: function of `(params, *args, batch)` to a real scalar, the mean over the batch.
      params: pytree of floating or complex arrays, where the gradient is taken.
      batches: batches of `gdjax.batches`. Their data are what counts; their size and their order
        matter to the variance of a batch alone. Without replacement it is (N − B) / (N − 1) of
        that with replacement, and the batches of one epoch are anticorrelated; with `pad`, it is
        the mean over the batches of an epoch.
      *args: further arguments of the loss.
      sample: whether the data stand for many more that they were drawn from: then the variance and
        the square of the gradient are without bias as estimates of theirs. The critical batch size
        is too small on average where there are hardly more examples than parameters: by a fifth at
        two for each, by a fiftieth at twenty, as measured on a linear regression.
      key: random key of which examples are drawn; None takes `jax.random.key(0)`.

    Returns:
      The noise, scalars. The error of each is that of rounding and of examples not looked at, and
      with `sample` the standard error over the examples as well: of the critical batch size, that
      of their gradients and their Hessians, as up to 1,024 of them have it. The noise scale is inf
      where the mean gradient is 0 or drowned; the critical batch size NaN where curvature along
      the gradient, or on the whole where the noise is, is not positive.

    Raises:
      TypeError: an argument is of the wrong kind.
      ValueError: there are no parameters, or with `sample` less than 2 examples.

    References:
      McCandlish, Kaplan, Amodei et al., An empirical model of large-batch training, 2018.

    >>> import gdjax
    >>> loss = lambda w, batch: jnp.mean((w - batch) ** 2) / 2
    >>> noise = gradient_noise(loss, 3.0, gdjax.batches.mini(jnp.array([-1.0, 1.0, 0.0]), 2))
    >>> print(f"{noise.variance.value:.4f} {noise.noise_scale.value:.4f}")
    0.6667 0.0741
    """
    checks.function("loss", loss)
    params, batches = widened(params), require_batches(batches)
    if sample and batches.examples < 2:
        raise ValueError("batches: a sample needs at least 2 examples, got 1")
    key = checks.typed_key("key", jax.random.key(0) if key is None else key)
    return _gradient_noise(loss, bool(sample), params, batches, args, key)


@partial(jax.jit, static_argnums=(0, 1))
def _gradient_noise(
    loss: Loss, sample: bool, params: PyTree, batches: Batches, args: tuple, key: jax.Array
) -> GradientNoise:
    examples = Examples(loss, params, args, batches.whole)
    plain, curved = _moments(examples, sample, key)
    count = examples.number
    variance, square, scale = _estimates(plain, count, sample)
    of_batch, share = _estimates(plain, count, False)[0], _share(batches)
    curved_variance, curved_square, critical = _estimates(curved, count, sample)
    bowl = (curved_variance.value >= 0) & (curved_square.value >= 0)
    drowned = square.value <= 0
    return GradientNoise(
        gradient_square=square,
        variance=variance,
        batch_variance=Estimate(*(share * x for x in of_batch)),
        noise_scale=Estimate(*(jnp.where(drowned, jnp.inf, x) for x in scale)),
        critical_batch_size=Estimate(*(jnp.where(bowl, x, jnp.nan) for x in critical)),
    )


def _share(batches: Batches) -> Any:
    """Return the variance of the gradient of a batch, in those of one example."""
    plan, count = batches.plan, batches.examples
    size = plan.size if plan.count is None else jnp.asarray(plan.count, float)
    if batches.order is Order.REPLACED:
        return 1 / size
    others = max(count - 1, 1)
    share = (count - size) / (size * others)
    if not plan.pad:
        return share
    length = jnp.ceil(count / jnp.asarray(size, float))
    last = count - (length - 1) * size
    return ((length - 1) * share + (count - last) / (last * others)) / length


def _moments(examples: Examples, sample: bool, key: jax.Array) -> tuple[_Moments, _Moments]:
    """Return the moments as they are, and in the metric of the Hessian."""
    mean, product = examples.gradient(), examples.hessian_product()
    image, eps = product(mean), jnp.finfo(mean.dtype).eps
    small = mean.size <= LARGEST_HESSIAN
    matrix = columns(product, mean.size, mean.dtype) if small else None

    def plain(d: jax.Array) -> tuple[jax.Array, jax.Array]:
        return inner(d, d), inner(d, mean)

    def curved(d: jax.Array) -> jax.Array:
        return inner(d, product(d) if matrix is None else times(matrix, d))

    spread, along = examples.map(plain, mean)
    square = inner(mean, mean)
    blur = eps * jnp.sqrt(jnp.mean(spread) + square)  # of the mean gradient, by rounding

    def moments(spread: jax.Array, image: jax.Array, pull: _Pull | None) -> _Moments:
        rounding = blur * (2 * jnp.sqrt(inner(image, image)) + blur)
        return _Moments(spread, inner(mean, image), rounding, pull if sample else None)

    abreast = None if small else 1  # a product takes the memory of a batch
    seen = examples if small else examples.drawn(key, PROBED)
    spread_seen = seen.map(curved, mean, abreast)
    pull = None
    if sample:
        few = examples.drawn(key, SAMPLED if small else PROBED)
        pull = _curved_pull(few, mean, curved, image, abreast)
    plain_pull = _Pull(spread - jnp.mean(spread), 2 * along)
    return moments(spread, mean, plain_pull), moments(spread_seen, image, pull)


def _curved_pull(
    examples: Examples, mean: jax.Array, curved: Any, image: jax.Array, abreast: int | None
) -> _Pull:
    """Return the pulls in the metric of the Hessian, on which each example's own Hessian pulls."""
    deviations = examples.map(lambda d: d, mean)
    spread, along = examples.map(lambda d: (curved(d), inner(d, image)), mean, abreast)
    axes = deviations / examples.number**0.5
    if len(axes) > mean.size:  # as few directions with the same covariance
        values, vectors = eigh(times(axes.T, axes))
        axes = (vectors * jnp.sqrt(jnp.maximum(values, 0))[None]).T
    bends = examples.bends(jnp.concatenate([axes, mean[None]]), abreast)
    own, own_along = jnp.sum(bends[:, :-1], axis=1), bends[:, -1]
    pulls = spread + own, 2 * along + own_along
    return _Pull(*(pull - jnp.mean(pull) for pull in pulls))


def _estimates(moments: _Moments, count: int, sample: bool) -> tuple[Estimate, Estimate, Estimate]:
    """Return the variance, the square of the mean gradient, and the ratio, by the delta method."""
    spread, signal, rounding, pull = moments
    rows, eps = len(spread), jnp.finfo(signal.dtype).eps
    mean = jnp.mean(spread)
    variance = mean * count / (count - 1) if sample else mean
    square = signal - variance / count if sample else signal
    ratio = variance / square

    def error(unseen: Any, pulls: Any) -> jax.Array:
        """Return that of the examples not looked at, and that of the sample."""
        error = (1 / rows - 1 / count) * _scatter(unseen)
        return jnp.sqrt(error if pulls is None else error + _scatter(pulls) / count)

    missed, nothing = spread - mean, jnp.zeros_like(spread)
    pulls = pull_square = of_ratio = None
    if sample and pull is not None:
        # What one example more of the same kind would move each by, times their number.
        pulls, pull_square = pull.variance, pull.square - pull.variance / count
        of_ratio = (pulls - ratio * pull_square) / square
    return (
        Estimate(variance, error(missed, pulls) + eps * jnp.abs(variance)),
        Estimate(square, error(nothing, pull_square) + rounding),
        Estimate(
            ratio,
            error(missed / square, of_ratio) + jnp.abs(ratio) * (eps + rounding / jnp.abs(square)),
        ),
    )


def _scatter(values: jax.Array) -> jax.Array:
    """Return the variance of what the values were drawn from."""
    return jnp.sum((values - jnp.mean(values)) ** 2) / max(len(values) - 1, 1)
