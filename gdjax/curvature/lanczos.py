"""Lanczos' tridiagonalisation with full reorthogonalisation, as one compiled loop.

Golub and Van Loan, Matrix Computations, 4th edition, 2013, section 10.3; orthogonalised twice as
in Giraud, Langou and Rozložník, The loss of orthogonality in the Gram-Schmidt process, 2005.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

NOISE = 16  # in machine epsilons of the largest ‖Hq‖: a product is rounded by about as much
Product = Callable[[jax.Array], jax.Array]


class Krylov(NamedTuple):
    """An orthonormal basis Q, and the tridiagonal matrix T = Q H Qᵀ."""

    basis: jax.Array  # [steps, dim] in rows
    diagonal: jax.Array  # [steps] of T
    beside: jax.Array  # [steps] beside its diagonal; the last is the norm of what lies outside
    norm: jax.Array  # scalar, the largest ‖Hq‖ seen, at most that of H
    rounding: jax.Array  # scalar, norm of what rounding left of Q H Qᵀ − T

    def tridiagonal(self) -> jax.Array:
        """Return T as an array [steps, steps]."""
        beside = self.beside[:-1]
        return jnp.diag(self.diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)


def lanczos(
    product: Product,
    like: jax.Array,
    steps: int,
    key: jax.Array,
    locked: jax.Array | None = None,
    start: jax.Array | None = None,
) -> Krylov:
    """Return the Krylov space of a symmetric matrix and a vector.

    Where it ends early, as an invariant subspace, it goes on in another random direction
    orthogonal to it, and the entry beside the diagonal is 0.

    Args:
      product: the matrix times a vector [dim].
      like: array [dim] of the shape and dtype of the vectors.
      steps: dimension of the space; with the rows of `locked` at most `dim`.
      key: random key.
      locked: orthonormal rows [any, dim] that the space is kept orthogonal to; some may be 0.
      start: the vector [dim]; where it is 0 or None, a random one.
    """
    locked = jnp.zeros((0, like.size), like.dtype) if locked is None else locked
    eps = jnp.finfo(like.dtype).eps

    def unlocked(vector: jax.Array) -> jax.Array:
        return vector - times(times(locked, vector), locked)

    def split(vector: jax.Array, basis: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the coordinates in the basis, and what is orthogonal to it."""

        def once(_: int, carry: tuple) -> tuple:
            coordinates, vector = carry
            vector = unlocked(vector)
            inside = times(basis, vector)
            return coordinates + inside, vector - times(inside, basis)

        return lax.fori_loop(0, 2, once, (jnp.zeros(steps, like.dtype), vector))

    def fresh(number: jax.Array, basis: jax.Array) -> jax.Array:
        random = jax.random.normal(jax.random.fold_in(key, number), like.shape, like.dtype)
        return normalised(split(random, basis)[1])[0]

    def step(carry: tuple, number: jax.Array) -> tuple:
        basis, direction, before, norm = carry
        direction = lax.cond(before > 0, lambda *_: direction, fresh, number, basis)
        basis = basis.at[number].set(direction)
        image = unlocked(product(direction))
        norm = jnp.maximum(norm, normalised(image)[1])
        inside, outside = split(image, basis)
        here, place = inside[number], jnp.arange(steps)
        expected = jnp.where(place == number, here, jnp.where(place == number - 1, before, 0))
        following, outward = normalised(outside)
        # What is as small as rounding could not be made orthogonal either.
        beside = jnp.where(outward <= NOISE * eps * norm, 0, outward)
        excess = normalised(inside - expected)[1] + outward - beside
        return (basis, following, beside, norm), (here, beside, excess)

    zero, nothing = jnp.zeros((), like.dtype), jnp.zeros((steps, like.size), like.dtype)
    first = (nothing[0], zero) if start is None else normalised(unlocked(start))
    (basis, _, _, norm), (diagonal, beside, excess) = lax.scan(
        step, (nothing, *first, zero), jnp.arange(steps, dtype=jnp.int32)
    )
    return Krylov(basis, diagonal, beside, norm, normalised(excess)[1])


def solved(product: Product, target: jax.Array, steps: int, least: float) -> jax.Array:
    """Return the x of a Krylov space for which a symmetric matrix H leaves the least ‖Hx − target‖.

    It may be indefinite: Paige and Saunders, Solution of sparse indefinite systems of linear
    equations, SIAM Journal on Numerical Analysis 12, 1975.

    Args:
      product: H times a vector [dim].
      target: array [dim], which spans the space with its images.
      steps: dimension of the space, at most `dim`.
      least: share of the largest eigenvalue seen; along smaller ones x is 0.
    """
    krylov = lanczos(product, target, steps, jax.random.key(0), start=target)
    outside = jnp.zeros((1, steps), target.dtype).at[0, -1].set(krylov.beside[-1])
    matrix = jnp.concatenate([krylov.tridiagonal(), outside])
    first = jnp.zeros(steps + 1, target.dtype).at[0].set(normalised(target)[1])
    return times(jnp.linalg.lstsq(matrix, first, rcond=least)[0], krylov.basis)


def times(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the matrix product, in full precision on every device."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def normalised(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the vector in unit length, and its length, where squares would not fit as well."""
    largest = jnp.max(jnp.abs(vector))
    scale = jnp.where(largest > 0, largest, 1)
    length = jnp.linalg.norm(vector / scale)
    return vector / scale / jnp.where(largest > 0, length, 1), scale * length
