"""How far the largest eigenvalue can be above the largest Ritz value of a random start.

van Dorsselaer, Hochstenbach and van der Vorst, Computing probabilistic bounds for extreme
eigenvalues of symmetric matrices with the Lanczos method, SIAM J. Matrix Anal. Appl. 22, 2000.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

RISK = 1e-4  # probability that a start has so little of the extreme eigenvector that a bound fails
DISTANCES = 256  # that are tried


def excess(largest: jax.Array, diagonal: jax.Array, beside: jax.Array, dim: int) -> jax.Array:
    """Return a bound on the largest eigenvalue less the largest Ritz value.

    Each Lanczos vector is p(H)v of the start v, with a polynomial p that grows beyond the largest
    Ritz value. It has unit length, so the component γ of v along an eigenvector of eigenvalue λ
    meets |γ p(λ)| ≤ 1; and |γ| of a random v is above a known δ, but for a small risk. Hence λ is
    at most where any p reaches 1/δ.

    Args:
      largest: scalar, largest eigenvalue of the tridiagonal matrix.
      diagonal: [steps] of it.
      beside: [steps] beside its diagonal, and the norm of what lies outside of the Krylov space.
      dim: dimension of the space of the start.

    Returns:
      Scalar, at least 0; 0 where the Krylov space is invariant.
    """
    # The density of γ at 0 is below √(dim/2π), and the risk is that of |γ| < δ.
    log_reach = math.log(math.sqrt(2 * dim / math.pi) / RISK)
    tiny = jnp.finfo(diagonal.dtype).tiny
    # A p is least for its degree if all its zeros are at the largest Ritz value.
    degree = jnp.arange(1, diagonal.size + 1, dtype=diagonal.dtype)
    farthest = jnp.exp(jnp.min((jnp.cumsum(jnp.log(beside)) + log_reach) / degree))
    least = 2 * math.log(jnp.finfo(diagonal.dtype).eps)
    distance = farthest * jnp.exp(jnp.linspace(least, 0, DISTANCES, dtype=diagonal.dtype))

    def grow(carry: tuple, row: tuple) -> tuple:
        pivot, before, log, highest = carry
        gap, after = row
        pivot = jnp.maximum(gap + distance - before * (before / pivot), tiny)
        log = log + jnp.log(pivot) - jnp.log(after)
        return (pivot, after, log, jnp.maximum(highest, log)), None

    nothing = jnp.zeros_like(distance)
    first = jnp.ones_like(distance), jnp.zeros_like(largest), nothing, nothing
    (*_, highest), _ = lax.scan(grow, first, (largest - diagonal, beside))
    return jnp.min(jnp.where(highest >= log_reach, distance, farthest))
