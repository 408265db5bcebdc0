"""The monkey saddle, x^3 - 3 x y^2: a stationary point that second derivatives do not see.

Source: D. Hilbert and S. Cohn-Vossen, Geometry and the Imagination, Chelsea, 1952, section 29.

Its one stationary point is the origin. The Hessian there is zero, so the point has no index; it
is listed as a saddle because the loss, r^3 cos(3 t) in polar coordinates, both rises and falls
around it (three valleys, three ridges). The loss has no lower bound: gradient descent diverges
from nearly everywhere, at any rate.
"""

import jax

from gdjax.landscapes.landscape import Landscape, points


def _formula(point: jax.Array) -> jax.Array:
    x, y = point[0], point[1]
    return x**3 - 3.0 * x * y**2


monkey_saddle = Landscape(
    name="monkey_saddle",
    formula=_formula,
    domain=((-1.0, 1.0), (-1.0, 1.0)),
    minima=points([]),
    saddles=points([(0.0, 0.0)]),
    maxima=points([]),
    learning_rate=0.01,
    source="D. Hilbert and S. Cohn-Vossen, Geometry and the Imagination, Chelsea, 1952",
)
