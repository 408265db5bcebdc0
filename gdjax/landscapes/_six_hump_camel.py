"""The six-hump camel, (4 - 2.1 x^2 + x^4 / 3) x^2 + x y + (4 y^2 - 4) y^2.

Source: L. C. W. Dixon and G. P. Szego, "The global optimization problem: an introduction",
Towards Global Optimisation 2, North-Holland, 1978.

All fifteen stationary points are listed: six minima, of which two of value -1.031628, seven
saddles and two maxima. The loss is even, so that they come in pairs around the origin.
"""

import jax

from gdjax.landscapes.landscape import Landscape, points


def _formula(point: jax.Array) -> jax.Array:
    x, y = point[0], point[1]
    return (4.0 - 2.1 * x**2 + x**4 / 3.0) * x**2 + x * y + (4.0 * y**2 - 4.0) * y**2


def _pairs(*halves: tuple[float, float]) -> list[tuple[float, float]]:
    return [(sign * x, sign * y) for x, y in halves for sign in (1.0, -1.0)]


six_hump_camel = Landscape(
    name="six_hump_camel",
    formula=_formula,
    domain=((-3.0, 3.0), (-2.0, 2.0)),
    minima=points(
        _pairs(
            (0.08984201310031806, -0.7126564030207396),
            (1.703606714969981, -0.7960835686726251),
            (1.6071047529201972, 0.5686514548841314),
        )
    ),
    saddles=points(
        [
            (0.0, 0.0),
            *_pairs(
                (1.1092053368047865, -0.7682680925095399),
                (1.6380679841897785, 0.22867406904439408),
                (1.2960702671671092, 0.6050843880386585),
            ),
        ]
    ),
    maxima=points(_pairs((1.2302298765166526, 0.16233458445899496))),
    learning_rate=0.01,
    source="L. C. W. Dixon and G. P. Szego, Towards Global Optimisation 2, North-Holland, 1978",
)
