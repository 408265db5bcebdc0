"""Eigenvalues of small symmetric matrices, in any number of lanes, and with NaN for NaN."""

import jax
import jax.numpy as jnp


def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return eigenvalues [dim] in ascending order and eigenvectors [dim, dim] in columns.

    Args:
      matrix: symmetric array [dim, dim], in float32 or wider.

    >>> values, vectors = eigh(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> values.tolist()
    [1.0, 3.0]
    """
    finite = jnp.all(jnp.isfinite(matrix))
    matrix = jnp.where(finite, matrix, 0)  # LAPACK promises nothing for what is not finite
    values, vectors = _rotated(matrix) if len(matrix) == 2 else jnp.linalg.eigh(matrix)
    return jnp.where(finite, values, jnp.nan), jnp.where(finite, vectors, jnp.nan)


def _rotated(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Do the same for two dimensions by the one rotation of Jacobi, which XLA can fuse."""
    a, b, c = matrix[0, 0], matrix[0, 1], matrix[1, 1]
    # The tangent of the smaller angle t² + 2t(c − a)/2b − 1 = 0, without dividing by zero.
    half, size = (c - a) / 2, jnp.abs(b)
    reach = jnp.abs(half) + _length(half, b)
    tangent = jnp.where(reach > 0, size / jnp.where(reach > 0, reach, 1), 0)
    tangent = jnp.where((half < 0) ^ (b < 0), -tangent, tangent)
    cosine = 1 / jnp.sqrt(1 + tangent**2)
    values = jnp.stack([a - tangent * b, c + tangent * b])
    sine = tangent * cosine
    vectors = jnp.stack([jnp.stack([cosine, sine]), jnp.stack([-sine, cosine])])
    swap = values[0] > values[1]
    return jnp.where(swap, values[::-1], values), jnp.where(swap, vectors[:, ::-1], vectors)


def _length(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return √(x² + y²) where the squares would not fit the dtype as well."""
    large, small = jnp.maximum(jnp.abs(x), jnp.abs(y)), jnp.minimum(jnp.abs(x), jnp.abs(y))
    ratio = jnp.where(large > 0, small / jnp.where(large > 0, large, 1), 0)
    return large * jnp.sqrt(1 + ratio**2)
