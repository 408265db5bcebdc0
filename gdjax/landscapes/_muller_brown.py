"""The Muller-Brown potential, a sum of four Gaussian-like terms A exp(a u^2 + b u v + c v^2).

Source: K. Muller and L. D. Brown, "Location of saddle points and minimum energy paths by a
constrained simplex optimization procedure", Theoretica Chimica Acta 53 (1979) 75-93.

All five stationary points within the domain are listed. The minima have the values -146.6995,
-108.1667 and -80.7678, the saddles between them -72.2489 and -40.6648. The last term grows
without bound in two opposite directions, so the loss has neither a maximum nor a bound above.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.landscapes.landscape import Landscape, points

_HEIGHT = np.array([-200.0, -100.0, -170.0, 15.0])
_XX = np.array([-1.0, -1.0, -6.5, 0.7])
_XY = np.array([0.0, 0.0, 11.0, 0.6])
_YY = np.array([-10.0, -10.0, -6.5, 0.7])
_CENTER_X = np.array([1.0, 0.0, -0.5, -1.0])
_CENTER_Y = np.array([0.0, 0.5, 1.5, 1.0])


def _formula(point: jax.Array) -> jax.Array:
    height, xx, xy, yy, center_x, center_y = (
        jnp.asarray(constants, point.dtype)
        for constants in (_HEIGHT, _XX, _XY, _YY, _CENTER_X, _CENTER_Y)
    )
    u, v = point[0] - center_x, point[1] - center_y
    return jnp.sum(height * jnp.exp(xx * u**2 + xy * u * v + yy * v**2))


muller_brown = Landscape(
    name="muller_brown",
    formula=_formula,
    domain=((-1.5, 1.2), (-0.5, 2.0)),
    minima=points(
        [
            (-0.5582236346330243, 1.4417258418046686),
            (0.6234994049308765, 0.028037758528685664),
            (-0.050010822998206056, 0.4666941048719721),
        ]
    ),
    saddles=points(
        [
            (0.212486582000662, 0.2929883251073678),
            (-0.8220015587327321, 0.6243128028148713),
        ]
    ),
    maxima=points([]),
    learning_rate=0.0002,
    source="K. Muller and L. D. Brown, Theoretica Chimica Acta 53 (1979) 75-93",
)
