"""The Styblinski-Tang loss, half the sum over coordinates of x^4 - 16 x^2 + 5 x.

Source: M. A. Styblinski and T.-S. Tang, "Experiments in nonconvex optimization: stochastic
approximation with function smoothing and simulated annealing", Neural Networks 3 (1990) 467-483.

Each coordinate has minima at -2.9035 and 2.7468 and a maximum at 0.1567. In dimension n all 3^n
stationary points are listed up to n = 6; beyond, only those whose coordinates are all equal. The
global minimum has the value -39.16617 n.
"""

import functools

import jax
import jax.numpy as jnp

from gdjax.landscapes._separable import stationary_points
from gdjax.landscapes.landscape import Landscape

_MINIMA = (-2.903534027771177, 2.746802770990837)
_MAXIMA = (0.1567312567803401,)


def _formula(point: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum(point**4 - 16.0 * point**2 + 5.0 * point)


@functools.cache
def _build(dimension: int) -> Landscape:
    minima, saddles, maxima = stationary_points(_MINIMA, _MAXIMA, dimension)
    return Landscape(
        name="styblinski_tang",
        formula=_formula,
        domain=((-5.0, 5.0),) * dimension,
        minima=minima,
        saddles=saddles,
        maxima=maxima,
        learning_rate=0.01,
        source="M. A. Styblinski and T.-S. Tang, Neural Networks 3 (1990) 467-483",
        least_dimension=1,
        build=_build,
    )


styblinski_tang = _build(2)
