"""The Ackley loss, 20 + e - 20 exp(-0.2 sqrt(mean(x^2))) - exp(mean(cos(2 pi x))).

Source: D. H. Ackley, A Connectionist Machine for Genetic Hillclimbing, Kluwer, 1987.

The global minimum is the origin, of value 0. It is a kink, the tip of a cone of slope
4 / sqrt(n): the loss has no derivative there. Its gradient is defined as exactly 0 at the origin,
where automatic differentiation of the square root alone would give NaN; its second derivatives
there are those of the cosine term only.

Gradient descent converges to a local minimum nearby from 99.9 % of the domain. From the rest,
around the origin, it ends up hopping about the origin, as the slope does not fade towards it.

In dimension 2 the stationary points within [-1, 1]^2 are listed: the origin and eight local
minima around it, twelve saddles and four maxima. In any other dimension only the origin is.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp

from gdjax.landscapes.landscape import Landscape, points

_SIGNS = tuple(itertools.product((1.0, -1.0), repeat=2))


def _formula(point: jax.Array) -> jax.Array:
    square = jnp.mean(point**2)
    # Two wheres: the inner one keeps the infinite slope of the root at 0 out of the gradient,
    # where it would turn the outer one's zero into NaN.
    away = square > 0.0
    radius = jnp.where(away, jnp.sqrt(jnp.where(away, square, 1.0)), 0.0)
    ripple = jnp.mean(jnp.cos((2.0 * math.pi) * point))
    # expm1 makes the value at the origin exactly 0.
    return -20.0 * jnp.expm1(-0.2 * radius) - math.e * jnp.expm1(ripple - 1.0)


def _cross(r: float) -> list[tuple[float, float]]:
    return [(r, 0.0), (-r, 0.0), (0.0, r), (0.0, -r)]


def _corners(x: float, y: float) -> list[tuple[float, float]]:
    return [(a * x, b * y) for a, b in _SIGNS]


@functools.cache
def _build(dimension: int) -> Landscape:
    minima, saddles, maxima = [(0.0,) * dimension], [], []
    if dimension == 2:
        minima += _cross(0.9521665459501717)
        minima += _corners(0.9684776587077244, 0.9684776587077244)
        saddles = _cross(0.6257806168564638)
        saddles += _corners(0.8747620388753442, 0.5774125352782147)
        saddles += _corners(0.5774125352782147, 0.8747620388753442)
        maxima = _corners(0.6730965201107377, 0.6730965201107377)
    return Landscape(
        name="ackley",
        formula=_formula,
        domain=((-32.768, 32.768),) * dimension,
        minima=points(minima, dimension),
        saddles=points(saddles, dimension),
        maxima=points(maxima, dimension),
        learning_rate=0.01,
        source="D. H. Ackley, A Connectionist Machine for Genetic Hillclimbing, Kluwer, 1987",
        least_dimension=1,
        build=_build,
    )


ackley = _build(2)
