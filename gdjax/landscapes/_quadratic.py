"""A quadratic of given condition number, half the sum of c_i x_i^2.

Source: S. Boyd and L. Vandenberghe, Convex Optimization, Cambridge University Press, 2004,
section 9.3.

The curvatures c_i are spaced evenly on a log scale, from 1 to the condition number. The one
stationary point is the minimum at the origin, of value 0.
"""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.landscapes.landscape import Landscape, points


def _formula(condition_number: float, point: jax.Array) -> jax.Array:
    curvatures = jnp.asarray(np.geomspace(1.0, condition_number, point.size), point.dtype)
    return 0.5 * jnp.sum(curvatures * point**2)


@functools.cache
def _build(condition_number: float, dimension: int) -> Landscape:
    return Landscape(
        name="quadratic",
        formula=functools.partial(_formula, condition_number),
        domain=((-1.0, 1.0),) * dimension,
        minima=points([(0.0,) * dimension], dimension),
        saddles=points([], dimension),
        maxima=points([], dimension),
        # The rate at which the least and the greatest curvature converge equally fast.
        learning_rate=2.0 / (1.0 + condition_number),
        source="S. Boyd and L. Vandenberghe, Convex Optimization, Cambridge, 2004, section 9.3",
        least_dimension=2,
        build=functools.partial(_build, condition_number),
    )


def quadratic(condition_number: float = 100.0, dimension: int = 2) -> Landscape:
    """Make the quadratic of a given condition number.

    Args:
        condition_number: The greatest curvature; the least is 1. Finite and at least 1.
        dimension: The number of coordinates, at least 2.

    Returns:
        The landscape, with minimum at the origin; equal arguments give the same object. Its
        learning rate, 2 / (1 + condition_number), is the best fixed one.

    Raises:
        ValueError: The condition number is below 1 or not finite, or the dimension below 2.

    From Boyd and Vandenberghe, Convex Optimization, 2004, section 9.3.

    Example:
        >>> bowl = quadratic(condition_number=10.0)
        >>> jax.grad(bowl)(jnp.array([1.0, 1.0])).tolist()
        [1.0, 10.0]
    """
    if not 1.0 <= condition_number < np.inf:
        raise ValueError(f"quadratic: condition_number is {condition_number}; expected 1 or more")
    dimension = operator.index(dimension)
    if dimension < 2:
        raise ValueError(f"quadratic: dimension is {dimension}; expected 2 or more")
    return _build(float(condition_number), dimension)
