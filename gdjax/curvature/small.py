"""Eigenvalues of small symmetric matrices, in any number of lanes, and with NaN for NaN."""

from itertools import combinations

import jax
import jax.numpy as jnp
from jax import lax

FUSED = 3  # dimensions: LAPACK takes its matrices one by one, and seven times as long up to here
SWEEPS = 6  # of Jacobi's method, which converges quadratically: enough for double precision

Entries = dict[tuple[int, int], jax.Array]


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
    values, vectors = _jacobi(matrix) if len(matrix) <= FUSED else jnp.linalg.eigh(matrix)
    return jnp.where(finite, values, jnp.nan), jnp.where(finite, vectors, jnp.nan)


def _jacobi(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Do the same by the cyclic method of Jacobi, in scalars that XLA can fuse over lanes.

    Golub and Van Loan, Matrix Computations, 4th edition, 2013, section 8.5.
    """
    dim = len(matrix)
    pairs = list(combinations(range(dim), 2))
    unit = jnp.eye(dim, dtype=matrix.dtype)

    def sweep(_: int, carry: tuple[Entries, Entries]) -> tuple[Entries, Entries]:
        entries, vectors = dict(carry[0]), dict(carry[1])
        for i, j in pairs:
            tangent = _tangent(entries[i, i], entries[i, j], entries[j, j])
            cosine = 1 / jnp.sqrt(1 + tangent**2)
            sine = tangent * cosine
            entries[i, i] -= tangent * entries[i, j]
            entries[j, j] += tangent * entries[i, j]
            entries[i, j] = jnp.zeros_like(tangent)
            for k in range(dim):
                if k not in (i, j):
                    at_i, at_j = (min(k, i), max(k, i)), (min(k, j), max(k, j))
                    a, b = entries[at_i], entries[at_j]
                    entries[at_i], entries[at_j] = cosine * a - sine * b, sine * a + cosine * b
                a, b = vectors[k, i], vectors[k, j]
                vectors[k, i], vectors[k, j] = cosine * a - sine * b, sine * a + cosine * b
        return entries, vectors

    places = [(i, j) for i in range(dim) for j in range(dim)]
    entries = {(i, j): matrix[i, j] for i, j in places if i <= j}
    vectors = {place: unit[place] for place in places}
    if dim == 2:
        entries, vectors = sweep(0, (entries, vectors))
    else:
        entries, vectors = lax.fori_loop(0, SWEEPS, sweep, (entries, vectors))
    values = [entries[i, i] for i in range(dim)]
    columns = [jnp.stack([vectors[k, i] for k in range(dim)]) for i in range(dim)]
    for last in range(dim - 1, 0, -1):
        for i in range(last):
            swap = values[i] > values[i + 1]
            for both in (values, columns):
                both[i : i + 2] = [
                    jnp.where(swap, both[i + 1], both[i]),
                    jnp.where(swap, both[i], both[i + 1]),
                ]
    return jnp.stack(values), jnp.stack(columns, axis=1)


def _tangent(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
    """Return that of the smaller angle by which a rotation makes [[a, b], [b, c]] diagonal."""
    half = (c - a) / 2
    reach = jnp.abs(half) + _length(half, b)
    tangent = jnp.where(reach > 0, jnp.abs(b) / jnp.where(reach > 0, reach, 1), 0)
    return jnp.where((half < 0) ^ (b < 0), -tangent, tangent)


def _length(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return √(x² + y²) where the squares would not fit the dtype as well."""
    large, small = jnp.maximum(jnp.abs(x), jnp.abs(y)), jnp.minimum(jnp.abs(x), jnp.abs(y))
    ratio = jnp.where(large > 0, small / jnp.where(large > 0, large, 1), 0)
    return large * jnp.sqrt(1 + ratio**2)
