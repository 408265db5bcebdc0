"""Himmelblau's loss, (x^2 + y - 11)^2 + (x + y^2 - 7)^2: four minima of value 0.

Source: D. M. Himmelblau, Applied Nonlinear Programming, McGraw-Hill, 1972.

All nine stationary points are listed. Minima have value 0, the maximum 181.6165.
"""

import jax

from gdjax.landscapes.landscape import Landscape, points


def _formula(point: jax.Array) -> jax.Array:
    x, y = point[0], point[1]
    return (x**2 + y - 11.0) ** 2 + (x + y**2 - 7.0) ** 2


himmelblau = Landscape(
    name="himmelblau",
    formula=_formula,
    domain=((-6.0, 6.0), (-6.0, 6.0)),
    minima=points(
        [
            (3.0, 2.0),
            (3.5844283403304917, -1.8481265269644036),
            (-2.805118086952745, 3.131312518250573),
            (-3.779310253377747, -3.2831859912861696),
        ]
    ),
    saddles=points(
        [
            (3.385154183607021, 0.07385187983774928),
            (0.08667750455539636, 2.884254701174776),
            (-3.0730257507643897, -0.08135304428796751),
            (-0.12796134673068008, -1.9537149802445763),
        ]
    ),
    maxima=points([(-0.2708445906673476, -0.9230385564799815)]),
    learning_rate=0.01,
    source="D. M. Himmelblau, Applied Nonlinear Programming, McGraw-Hill, 1972",
)
