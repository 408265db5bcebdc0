"""The Griewank loss, 1 + the sum of x_i^2 / 4000 - the product of cos(x_i / sqrt(i)), i from 1.

Source: A. O. Griewank, "Generalized descent for global optimization", Journal of Optimization
Theory and Applications 34 (1981) 11-39.

In dimension 2 the thirteen stationary points within [-4.5, 4.5]^2 are listed: five minima, four
saddles and four maxima. In any other dimension only the global minimum is, the origin, of value 0.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.landscapes.landscape import Landscape, points

_SIGNS = tuple(itertools.product((1.0, -1.0), repeat=2))


def _formula(point: jax.Array) -> jax.Array:
    roots = jnp.asarray(np.sqrt(np.arange(1, point.size + 1)), point.dtype)
    return 1.0 + jnp.sum(point**2) / 4000.0 - jnp.prod(jnp.cos(point / roots))


@functools.cache
def _build(dimension: int) -> Landscape:
    minima, saddles, maxima = [(0.0,) * dimension], [], []
    if dimension == 2:
        minima += [(a * 3.1400226338955397, b * 4.438444480920714) for a, b in _SIGNS]
        saddles = [(a * 1.5723679104393218, b * 2.2225533025787545) for a, b in _SIGNS]
        maxima = [(a * 3.1431642363549055, 0.0) for a in (1.0, -1.0)]
        maxima += [(0.0, b * 4.447330275764381) for b in (1.0, -1.0)]
    return Landscape(
        name="griewank",
        formula=_formula,
        domain=((-600.0, 600.0),) * dimension,
        minima=points(minima, dimension),
        saddles=points(saddles, dimension),
        maxima=points(maxima, dimension),
        learning_rate=0.5,
        source="A. O. Griewank, J. Optimization Theory and Applications 34 (1981) 11-39",
        least_dimension=1,
        build=_build,
    )


griewank = _build(2)
