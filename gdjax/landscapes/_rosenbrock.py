"""Rosenbrock's valley, the sum of 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2, in any dimension >= 2.

Source: H. H. Rosenbrock, "An automatic method for finding the greatest or least value of a
function", The Computer Journal 3 (1960) 175-184; in more dimensions Y.-W. Shang and Y.-H. Qiu,
"A note on the extended Rosenbrock function", Evolutionary Computation 14 (2006) 119-126.

The global minimum (1, ..., 1), of value 0, is listed in every dimension; in dimension 2 and 3 it
is the only minimum. In dimension 4 to 30 the local minimum near (-1, 1, ..., 1) is listed too,
computed by Newton's method. The saddles that exist from dimension 4 on are not listed.

No fixed rate takes gradient descent to the minimum within 10,000 steps from all of the domain,
as the curvatures there are 0.4 and 1002, and greater ones further off make it diverge at rates
above 0.0008. At the rate given it converges from all of the domain within 28,000 steps.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.landscapes.landscape import Landscape, Points, points

_TWO_MINIMA = range(4, 31)


def _formula(point: jax.Array) -> jax.Array:
    head, tail = point[:-1], point[1:]
    return jnp.sum(100.0 * (tail - head**2) ** 2 + (1.0 - head) ** 2)


def _gradient_and_hessian(point: Points) -> tuple[Points, Points]:
    head, excess = point[:-1], point[1:] - point[:-1] ** 2
    gradient = np.zeros_like(point)
    gradient[:-1] = -400.0 * head * excess - 2.0 * (1.0 - head)
    gradient[1:] += 200.0 * excess
    diagonal = np.zeros_like(point)
    diagonal[:-1] = 800.0 * head**2 - 400.0 * excess + 2.0
    diagonal[1:] += 200.0
    hessian = np.diag(diagonal) + np.diag(-400.0 * head, 1) + np.diag(-400.0 * head, -1)
    return gradient, hessian


def _local_minimum(dimension: int) -> Points:
    """Follow Newton's method from (-1, 1, ..., 1), which descends along negative curvature too."""
    point = np.ones(dimension)
    point[0] = -1.0
    for _ in range(60):
        gradient, hessian = _gradient_and_hessian(point)
        curvatures, axes = np.linalg.eigh(hessian)
        step = axes @ ((axes.T @ gradient) / np.abs(curvatures))
        # Steps no longer than 0.2 stay in the basin of the local minimum.
        point = point - step / max(1.0, 5.0 * float(np.linalg.norm(step)))
    return point


@functools.cache
def _build(dimension: int) -> Landscape:
    minima = [np.ones(dimension)]
    if dimension in _TWO_MINIMA:
        minima.append(_local_minimum(dimension))
    return Landscape(
        name="rosenbrock",
        formula=_formula,
        domain=((-2.048, 2.048),) * dimension,
        minima=points(np.stack(minima), dimension),
        saddles=points([], dimension),
        maxima=points([], dimension),
        learning_rate=0.0007,
        source="H. H. Rosenbrock, The Computer Journal 3 (1960) 175-184",
        least_dimension=2,
        build=_build,
    )


rosenbrock = _build(2)
