"""The Rastrigin loss, 10 n plus the sum over n coordinates of x^2 - 10 cos(2 pi x).

Source: L. A. Rastrigin, Systems of Extremal Control, Nauka, 1974; in n dimensions H. Muhlenbein,
M. Schomisch and J. Born, "The parallel genetic algorithm as function optimizer", Parallel
Computing 17 (1991) 619-632.

Of its many stationary points those with every coordinate within [-1.5, 1.5] are listed: along
one coordinate the minima 0 and +-0.99496 and the maxima +-0.50255. In dimension n all 5^n of them
are listed up to n = 4; beyond, only those whose coordinates are all equal. The global minimum is
the origin, of value 0.
"""

import functools
import math

import jax
import jax.numpy as jnp

from gdjax.landscapes._separable import stationary_points
from gdjax.landscapes.landscape import Landscape

_MINIMA = (0.0, -0.9949586376523348, 0.9949586376523348)
_MAXIMA = (-0.5025460365546747, 0.5025460365546747)


def _formula(point: jax.Array) -> jax.Array:
    return jnp.sum(point**2 + 10.0 * (1.0 - jnp.cos((2.0 * math.pi) * point)))


@functools.cache
def _build(dimension: int) -> Landscape:
    minima, saddles, maxima = stationary_points(_MINIMA, _MAXIMA, dimension)
    return Landscape(
        name="rastrigin",
        formula=_formula,
        domain=((-5.12, 5.12),) * dimension,
        minima=minima,
        saddles=saddles,
        maxima=maxima,
        learning_rate=0.002,
        source="L. A. Rastrigin, Systems of Extremal Control, Nauka, 1974",
        least_dimension=1,
        build=_build,
    )


rastrigin = _build(2)
