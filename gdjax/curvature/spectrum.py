"""How the eigenvalues of a Hessian are distributed, and their sum, from random probes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax import checks
from gdjax.curvature.estimate import Estimate
from gdjax.curvature.extremes import LARGEST_HESSIAN, real_size, steps_for
from gdjax.curvature.lanczos import lanczos, times
from gdjax.curvature.products import columns, product_with, widened
from gdjax.curvature.small import eigh
from gdjax.losses import Loss
from gdjax.trees import PyTree, real_vector


class SpectralDensity(NamedTuple):
    """A distribution of eigenvalues as points with weights, one row for each probe.

    The full Hessian gives one row of all eigenvalues.
    """

    nodes: jax.Array  # [probes, points] in ascending order
    weights: jax.Array  # [probes, points], each row of sum 1

    def mean(self, function: Callable[[jax.Array], jax.Array]) -> Estimate:
        """Return the mean of a function over all eigenvalues, with the standard error over probes.

        What all probes have in common is not in it: of a function that changes from one node to
        the next, as a step does, see what `max_steps` of twice as many nodes changes.

        Args:
          function: elementwise function of an array of eigenvalues.

        >>> points = SpectralDensity(jnp.array([[1.0, 3.0]]), jnp.array([[0.5, 0.5]]))
        >>> print(points.mean(jnp.square).value)
        5.0
        """
        checks.function("function", function)
        return _mean(jnp.sum(self.weights * function(self.nodes), axis=1))

    def density(self, at: Any, width: Any) -> Estimate:
        """Return the density of the eigenvalues, smoothed by Gaussians.

        Args:
          at: array [points] of where.
          width: standard deviation of the Gaussians, > 0. Below the distance of the nodes it shows
            each of them as a peak of its own.

        Returns:
          Arrays [points]: the density, of integral 1, and its standard error over probes.

        >>> points = SpectralDensity(jnp.array([[0.0]]), jnp.array([[1.0]]))
        >>> print(f"{points.density([0.0], 1.0).value[0]:.4f}")
        0.3989
        """
        at, width = checks.real_array("at", at), checks.positive_scalar("width", width)
        if at.ndim != 1:
            raise TypeError(f"at: expected an array [points], got shape {at.shape}")

        def at_one(at: jax.Array) -> Estimate:
            return self.mean(lambda nodes: jax.scipy.stats.norm.pdf(at, nodes, width))

        return lax.map(at_one, at.astype(self.nodes.dtype), batch_size=64)


def spectral_density(
    loss: Loss,
    params: PyTree,
    *args: Any,
    probes: int = 10,
    key: jax.Array | None = None,
    max_steps: int | None = None,
) -> SpectralDensity:
    """Return the distribution of the eigenvalues of a Hessian by stochastic Lanczos quadrature.

    Up to 256 parameters it is that of the full Hessian, and exact.

    Args:
      loss: function of `(params, *args)` to a real scalar.
      params: pytree of floating or complex arrays.
      *args: further arguments of the loss.
      probes: random vectors, at least 2.
      key: random key of the probes; None takes `jax.random.key(0)`.
      max_steps: nodes, and products with the Hessian for each probe; see `extremes`.

    Returns:
      The distribution, as nodes with weights; NaN where the Hessian is not finite.

    Raises:
      TypeError: the loss is no function to a scalar, or a parameter is not floating.
      ValueError: there are no parameters, probes is below 2, or max_steps below 1.

    References:
      Ubaru, Chen and Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, SIAM J.
      Matrix Anal. Appl. 38, 2017; Ghorbani, Krishnan and Xiao, An investigation into neural net
      optimization via Hessian eigenvalue density, ICML 2019.

    >>> found = spectral_density(lambda w: w[0] ** 2 + 2 * w[1] ** 2, jnp.zeros(2))
    >>> print(found.nodes, found.weights)
    [[2. 4.]] [[0.5 0.5]]
    """
    checks.function("loss", loss)
    params = widened(params)
    key = checks.typed_key("key", jax.random.key(0) if key is None else key)
    probes = checks.whole_number("probes", probes, least=2)
    steps = steps_for(real_size(params), max_steps)
    return _spectral_density(loss, params, args, key, probes, steps)


def trace(
    loss: Loss, params: PyTree, *args: Any, probes: int = 30, key: jax.Array | None = None
) -> Estimate:
    """Return the trace of a Hessian, with its standard error.

    Up to 256 parameters it is that of the full Hessian. Beyond, a third of the products find the
    directions where most of it is, a third give the trace there, and a third estimate the rest.

    Args:
      loss: function of `(params, *args)` to a real scalar.
      params: pytree of floating or complex arrays with `dim` numbers in all.
      *args: further arguments of the loss.
      probes: products with the Hessian, at least 6; two arrays [probes / 3, dim] are kept. The
        standard error is that of a third of them, and of few hardly known.
      key: random key of the probes; None takes `jax.random.key(0)`.

    Returns:
      Scalars: the trace, and the standard error of its estimate; that of rounding where exact.

    Raises:
      TypeError: the loss is no function to a scalar, or a parameter is not floating.
      ValueError: there are no parameters, or probes is below 6.

    References:
      Meyer, Musco, Musco and Woodruff, Hutch++: optimal stochastic trace estimation, SOSA 2021.

    >>> print(trace(lambda w: w[0] ** 2 + 2 * w[1] ** 2, jnp.zeros(2)).value)
    6.0
    """
    checks.function("loss", loss)
    params = widened(params)
    key = checks.typed_key("key", jax.random.key(0) if key is None else key)
    return _trace(loss, params, args, key, checks.whole_number("probes", probes, least=6))


@partial(jax.jit, static_argnums=(0, 4, 5))
def _spectral_density(
    loss: Loss, params: PyTree, args: tuple, key: jax.Array, probes: int, steps: int
) -> SpectralDensity:
    flat, _ = real_vector(params)
    product = product_with(loss, params, args)
    if flat.size <= LARGEST_HESSIAN:
        matrix = columns(product, flat.size, flat.dtype)
        nodes, _ = eigh((matrix + matrix.T) / 2)
        return SpectralDensity(nodes[None], jnp.full_like(nodes, 1 / nodes.size)[None])

    def probe(key: jax.Array) -> tuple:
        nodes, inside = eigh(lanczos(product, flat, steps, key).tridiagonal())
        return nodes, inside[0] ** 2

    return SpectralDensity(*lax.map(probe, jax.random.split(key, probes)))


@partial(jax.jit, static_argnums=(0, 4))
def _trace(loss: Loss, params: PyTree, args: tuple, key: jax.Array, probes: int) -> Estimate:
    flat, _ = real_vector(params)
    product = product_with(loss, params, args)
    eps = jnp.finfo(flat.dtype).eps
    if flat.size <= LARGEST_HESSIAN:
        matrix = columns(product, flat.size, flat.dtype)
        diagonal = jnp.diag(matrix)
        # What the products are rounded by shows in how far they are from symmetric.
        rounding = eps * jnp.sum(jnp.abs(diagonal)) + jnp.linalg.norm(matrix - matrix.T)
        return Estimate(jnp.sum(diagonal), rounding)
    third = probes // 3

    def sample(key: jax.Array) -> jax.Array:
        return jax.random.rademacher(key, flat.shape, flat.dtype)

    def along(vector: jax.Array) -> jax.Array:
        return jnp.vdot(vector, product(vector), precision=lax.Precision.HIGHEST)

    def outside(key: jax.Array) -> jax.Array:
        vector = sample(key)
        return along(vector - times(times(most, vector), most))

    keys = jax.random.split(key, probes - third)
    most = jnp.linalg.qr(lax.map(lambda key: product(sample(key)), keys[:third]).T)[0].T
    inside, rest = lax.map(along, most), _mean(lax.map(outside, keys[third:]))
    return Estimate(jnp.sum(inside) + rest.value, rest.error + eps * jnp.sum(jnp.abs(inside)))


def _mean(samples: jax.Array) -> Estimate:
    """Return the mean, with its standard error; one sample is exact."""
    spread = jnp.std(samples, ddof=1) if samples.size > 1 else 0 * samples[0]
    return Estimate(jnp.mean(samples), spread / samples.size**0.5)
