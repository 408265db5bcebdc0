"""The double well, the sum over coordinates of x^4 / 4 - x^2 / 2, in any dimension.

Source: S. H. Strogatz, Nonlinear Dynamics and Chaos, Perseus, 1994, example 2.7.2.

Each coordinate has minima at -1 and 1 and a maximum at 0. In dimension n all 3^n stationary
points are listed up to n = 6; beyond, only those whose coordinates are all equal. The minima
all have the value -n / 4.
"""

import functools

import jax
import jax.numpy as jnp

from gdjax.landscapes._separable import stationary_points
from gdjax.landscapes.landscape import Landscape


def _formula(point: jax.Array) -> jax.Array:
    return jnp.sum(0.25 * point**4 - 0.5 * point**2)


@functools.cache
def _build(dimension: int) -> Landscape:
    minima, saddles, maxima = stationary_points((-1.0, 1.0), (0.0,), dimension)
    return Landscape(
        name="double_well",
        formula=_formula,
        domain=((-2.0, 2.0),) * dimension,
        minima=minima,
        saddles=saddles,
        maxima=maxima,
        learning_rate=0.1,
        source="S. H. Strogatz, Nonlinear Dynamics and Chaos, Perseus, 1994, example 2.7.2",
        least_dimension=1,
        build=_build,
    )


double_well = _build(2)
