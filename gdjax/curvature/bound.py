"""How far the largest eigenvalue can be above the largest Ritz value of a random start.

van Dorsselaer, Hochstenbach and van der Vorst, Computing probabilistic bounds for extreme
eigenvalues of symmetric matrices with the Lanczos method, SIAM J. Matrix Anal. Appl. 22, 2000.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

RISK = 1e-4  # probability that a start has so little of the extreme eigenvector that a bound fails
HALVINGS = 40


def excess(ritz: jax.Array, beside: jax.Array, dim: int) -> jax.Array:
    """Return a bound on the largest eigenvalue less the largest Ritz value.

    The next Lanczos vector is p(H)v of the start v, with a polynomial p that vanishes at the Ritz
    values. It has unit length, so the component γ of v along an eigenvector of eigenvalue λ meets
    |γ p(λ)| ≤ 1; and |γ| of a random v is above a known δ, but for a small risk. Hence λ is at
    most where p, which grows beyond the last Ritz value, reaches 1/δ.

    Args:
      ritz: eigenvalues [steps] of the tridiagonal matrix in ascending order.
      beside: [steps] its entries beside the diagonal, and the norm of what lies outside.
      dim: dimension of the space of the start.

    Returns:
      Scalar, at least 0; 0 where the Krylov space is invariant.
    """
    # The density of γ at 0 is below √(dim/2π), and the risk is that of |γ| < δ.
    log_reach = math.log(math.sqrt(2 * dim / math.pi) / RISK)
    gaps, steps = ritz[-1] - ritz, ritz.size
    target = jnp.sum(jnp.log(beside)) + log_reach
    farthest = jnp.exp(target / steps)  # since p is largest if all Ritz values are the last one
    least = jnp.finfo(ritz.dtype).eps ** 2

    def halve(_: int, bracket: tuple) -> tuple:
        low, high = bracket  # of the logarithm, in units of the farthest
        middle = (low + high) / 2
        beyond = jnp.sum(jnp.log(gaps + farthest * jnp.exp(middle))) >= target
        return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

    bracket = jnp.log(least), jnp.zeros((), ritz.dtype)
    _, high = lax.fori_loop(0, HALVINGS, halve, bracket)
    return farthest * jnp.exp(high)
