"""Booth's loss, (x + 2 y - 7)^2 + (2 x + y - 5)^2: a quadratic of condition number 9.

Source: M. Jamil and X.-S. Yang, "A literature survey of benchmark functions for global
optimisation problems", Int. J. Mathematical Modelling and Numerical Optimisation 4 (2013)
150-194, where it is number 17.

Its one stationary point is the minimum (1, 3), of value 0.
"""

import jax

from gdjax.landscapes.landscape import Landscape, points


def _formula(point: jax.Array) -> jax.Array:
    x, y = point[0], point[1]
    return (x + 2.0 * y - 7.0) ** 2 + (2.0 * x + y - 5.0) ** 2


booth = Landscape(
    name="booth",
    formula=_formula,
    domain=((-10.0, 10.0), (-10.0, 10.0)),
    minima=points([(1.0, 3.0)]),
    saddles=points([]),
    maxima=points([]),
    # 2 / (2 + 18), the best rate for a quadratic of these least and greatest curvatures.
    learning_rate=0.1,
    source="M. Jamil and X.-S. Yang, Int. J. Math. Model. Numer. Optim. 4 (2013) 150-194",
)
