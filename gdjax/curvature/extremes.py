"""The extreme eigenvalues of a Hessian, each with a bound on its error."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax import checks
from gdjax.curvature import bound
from gdjax.curvature.estimate import Estimate
from gdjax.curvature.lanczos import Product, lanczos, normalised, times
from gdjax.curvature.products import columns, product_with, widened
from gdjax.curvature.small import eigh
from gdjax.losses import Loss
from gdjax.trees import PyTree, real_vector, size

LARGEST_HESSIAN = 256  # parameters: up to here the full Hessian is quicker than Lanczos' method
MOST_STEPS = 128
MOST_NUMBERS = 60_000_000  # of a Krylov basis, 240 MB in float32
FEWEST_STEPS = 30
ULPS = 8  # what an eigenvalue is rounded by, in units of the largest, up to a dimension of 16


class Extremes(NamedTuple):
    """The k least and the k largest eigenvalues of a Hessian, with their eigenvectors."""

    low: jax.Array  # [k] in ascending order
    high: jax.Array  # [k] in descending order
    low_error: jax.Array  # [k] bounds on the absolute errors
    high_error: jax.Array  # [k]
    low_vectors: PyTree  # leaves [k, ...], of unit length over all leaves
    high_vectors: PyTree


class End(NamedTuple):
    """One end of a spectrum, the largest eigenvalues first."""

    values: jax.Array  # [k]
    errors: jax.Array  # [k]
    vectors: jax.Array  # [k, dim]
    ritz: jax.Array  # [any] from one Krylov space: as many, or fewer, are above any bound


def extremes(
    loss: Loss,
    params: PyTree,
    *args: Any,
    k: int = 1,
    key: jax.Array | None = None,
    max_steps: int | None = None,
) -> Extremes:
    """Return the k least and the k largest eigenvalues of the Hessian of a loss.

    Up to 256 parameters the full Hessian is decomposed. Beyond, Lanczos' method with full
    reorthogonalisation starts from a random vector for each of the k, kept orthogonal to those
    found before, so that repeated eigenvalues are found as often as they occur. An eigenvalue of
    Lanczos lies inside of the true one, and no farther than its error (but for a risk of 1e-4,
    that of a start nearly orthogonal to the eigenvector), even where it has not converged.

    Args:
      loss: function of `(params, *args)` to a real scalar.
      params: pytree of floating or complex arrays with `dim` numbers in all.
      *args: further arguments of the loss.
      k: how many at each end, from 1 to `dim`.
      key: random key of the starts; None takes `jax.random.key(0)`.
      max_steps: dimension of the Krylov spaces, and products with the Hessian for each of the k.
        None takes 128, and beyond 470,000 parameters as many as fit 60 million numbers, at least
        30.

    Returns:
      The eigenvalues, their errors and their eigenvectors, in the widest dtype among the
      parameters and at least in float32; all of it NaN where the Hessian is not finite.

    Raises:
      TypeError: the loss is no function to a scalar, or a parameter is not floating.
      ValueError: there are no parameters; k or max_steps is below 1, or k above `dim`.

    >>> found = extremes(lambda w: w[0] ** 2 - w[1] ** 2, jnp.zeros(2))
    >>> print(found.low, found.high, jnp.abs(found.low_vectors))
    [-2.] [2.] [[0. 1.]]
    """
    checks.function("loss", loss)
    params = widened(params)
    key = checks.typed_key("key", jax.random.key(0) if key is None else key)
    k = checks.whole_number("k", k, least=1)
    if k > (dim := real_size(params)):
        raise ValueError(f"k: expected at most the {dim} parameters, got {k}")
    return _extremes(loss, params, args, key, k, steps_for(dim, max_steps))


def sharpness(
    loss: Loss,
    params: PyTree,
    *args: Any,
    key: jax.Array | None = None,
    max_steps: int | None = None,
) -> Estimate:
    """Return the largest eigenvalue of the Hessian of a loss, with a bound on its error.

    Args:
      loss: function of `(params, *args)` to a real scalar.
      params: pytree of floating or complex arrays.
      *args: further arguments of the loss.
      key: random key; see `extremes`.
      max_steps: products with the Hessian; see `extremes`.

    Returns:
      Scalars; gradient descent is stable where the learning rate is below 2 / value.

    Raises:
      TypeError: the loss is no function to a scalar, or a parameter is not floating.
      ValueError: there are no parameters, or max_steps is below 1.

    References:
      Cohen et al., Gradient descent on neural networks typically occurs at the edge of stability,
      ICLR 2021.

    >>> print(sharpness(lambda w: 3 * w**2, 1.0).value)
    6.0
    """
    found = extremes(loss, params, *args, key=key, max_steps=max_steps)
    return Estimate(found.high[0], found.high_error[0])


def real_size(params: PyTree) -> int:
    """Return how many real numbers there are in all leaves."""
    return size(jax.tree.map(lambda leaf: [leaf] * (1 + jnp.iscomplexobj(leaf)), params))


def steps_for(dim: int, max_steps: int | None) -> int:
    """Return the dimension of the Krylov spaces: the one asked for, or what fits the memory."""
    if max_steps is None:
        return min(dim, MOST_STEPS, max(FEWEST_STEPS, MOST_NUMBERS // dim))
    return min(dim, checks.whole_number("max_steps", max_steps, least=1))


@partial(jax.jit, static_argnums=(0, 4, 5))
def _extremes(
    loss: Loss, params: PyTree, args: tuple, key: jax.Array, k: int, steps: int
) -> Extremes:
    flat, unravel = real_vector(params)
    high, low = both_ends(product_with(loss, params, args), flat, key, k, steps)
    low_vectors, high_vectors = jax.vmap(unravel)(low.vectors), jax.vmap(unravel)(high.vectors)
    return Extremes(-low.values, high.values, low.errors, high.errors, low_vectors, high_vectors)


def both_ends(
    product: Product, like: jax.Array, key: jax.Array, k: int, steps: int
) -> tuple[End, End]:
    """Return the upper end of the spectrum of a symmetric matrix, and that of its negative."""
    if like.size <= LARGEST_HESSIAN or steps + 2 * k > like.size:
        return _dense(columns(product, like.size, like.dtype), k)
    return _krylov(product, like, key, k, steps)


def _dense(matrix: jax.Array, k: int) -> tuple[End, End]:
    values, vectors = eigh((matrix + matrix.T) / 2)
    # What the products are rounded by shows in how far they are from symmetric.
    asymmetry = jnp.max(jnp.sum(jnp.abs(matrix - matrix.T), 0)) / 2
    ulps = _ulps(jnp.maximum(-values[0], values[-1]))
    rounding = asymmetry + ulps * max(1, len(matrix) ** 0.5 / 4)  # LAPACK's grows with the size
    errors = jnp.full(k, rounding)
    high = End(values[::-1][:k], errors, vectors.T[::-1][:k], values[::-1])
    return high, End(-values[:k], errors, vectors.T[:k], -values)


def _krylov(
    product: Product, like: jax.Array, key: jax.Array, k: int, steps: int
) -> tuple[End, End]:
    """Find one eigenvector at each end, then one more orthogonal to those, and so on."""

    def find(locked: jax.Array, number: jax.Array) -> tuple:
        krylov = lanczos(product, like, steps, jax.random.fold_in(key, number), locked)
        ritz, inside = eigh(krylov.tridiagonal())
        above = bound.excess(ritz[-1], krylov.diagonal, krylov.beside, like.size)
        below = bound.excess(-ritz[0], -krylov.diagonal, krylov.beside, like.size)
        for row, column in ((number, inside[:, -1]), (k + number, inside[:, 0])):
            locked = locked.at[row].set(normalised(times(column, krylov.basis))[0])
        return locked, (ritz[-1] + above, below - ritz[0], krylov.rounding, krylov.norm, ritz)

    nothing = jnp.zeros((2 * k, like.size), like.dtype)
    locked, (top, bottom, rounding, norm, ritz) = lax.scan(
        find, nothing, jnp.arange(k, dtype=jnp.int32)
    )
    images = lax.map(product, locked)
    high, high_residuals = _rotated(locked[:k], images[:k], ritz[0, ::-1])
    low, low_residuals = _rotated(locked[k:], -images[k:], -ritz[0])
    noise = jnp.max(rounding) + _ulps(jnp.max(norm))
    high, low = (
        end._replace(errors=_errors(end.values, limits, other, residuals, noise))
        for end, limits, other, residuals in (
            (high, top, low.values, low_residuals),
            (low, bottom, high.values, high_residuals),
        )
    )
    return high, low


def _rotated(vectors: jax.Array, images: jax.Array, ritz: jax.Array) -> tuple[End, jax.Array]:
    """Return the Ritz values and vectors in the span of the vectors, and the residuals' norms."""
    gram = times(vectors, images.T)
    values, inside = eigh((gram + gram.T) / 2)
    values, inside = values[::-1], inside[:, ::-1].T
    vectors, images = times(inside, vectors), times(inside, images)
    residuals = jnp.linalg.norm(images - values[:, None] * vectors, axis=1)
    return End(values, jnp.zeros_like(values), vectors, ritz), residuals


def _errors(
    values: jax.Array, limits: jax.Array, other: jax.Array, residuals: jax.Array, noise: jax.Array
) -> jax.Array:
    """Return bounds on the errors at one end from the limits [k] found for it.

    By Courant and Fischer the j-th eigenvalue is at most the largest one orthogonal to any j − 1
    vectors, and so at most the j-th limit, if the vectors of the other end are eigenvectors. As
    they are so but for their residuals r, they may have hidden r² / gap, and r at most.
    """
    hidden = jnp.concatenate([jnp.zeros(1), jnp.cumsum(residuals**2)[:-1]]).astype(values.dtype)
    gap = jnp.maximum(values + other[0], 0)
    hidden = jnp.minimum(jnp.sqrt(hidden), hidden / jnp.where(gap > 0, gap, 1))
    return jnp.maximum(limits + hidden - values, 0) + noise


def _ulps(largest: jax.Array) -> jax.Array:
    return ULPS * jnp.finfo(largest.dtype).eps * largest
