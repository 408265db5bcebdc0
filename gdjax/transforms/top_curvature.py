"""The largest curvature at a point, refined from where it was a step before."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.transforms.vectors import difference, polar, scaled
from gdjax.trees import PyTree, inner

MOST_STEPS = 32  # each with a product; from a random vector about ten are enough, later one or two
RELATIVE_ERROR = 0.05


class TopCurvature(NamedTuple):
    """The largest eigenvalue of a Hessian, as far as it is known."""

    vector: PyTree  # of length 1, close to its eigenvector
    value: jax.Array  # [] the curvature along the vector, never above the eigenvalue
    error: jax.Array  # [] how far from the value there is an eigenvalue, at most


class _Search(NamedTuple):
    steps: jax.Array
    top: TopCurvature
    product: PyTree  # the Hessian times the vector
    slope: PyTree  # direction of the residual, along which the Rayleigh quotient rises most
    direction: PyTree  # where to look next


def top_curvature(
    product: Callable[[PyTree], PyTree], vector: PyTree, probe: PyTree
) -> TopCurvature:
    """Return the largest eigenvalue of a symmetric operator, to within about a twentieth.

    Power iteration finds the eigenvalue of largest magnitude, which at a saddle may be negative.
    This climbs the Rayleigh quotient by conjugate gradients, to the best vector of a plane each
    time: at the same cost a step it finds the largest eigenvalue, in fewer steps, and never falls.

    Args:
      product: the operator.
      vector: pytree, a first guess, not all 0.
      probe: pytree, a direction that is looked at in any case: a guess that is an eigenvector
        already, but no longer that of the largest eigenvalue, would not be left without it.

    Returns:
      The eigenvalue with its eigenvector.

    >>> curvatures = jnp.array([-9.0, 1.0, 2.0])
    >>> top = top_curvature(lambda v: curvatures * v, jnp.ones(3), jnp.ones(3))
    >>> abs(top.value - 2) < 0.1
    Array(True, dtype=bool)
    """

    def look(search: _Search) -> _Search:
        (vector, value, error), across = search.top, polar(search.direction)
        other = _orthogonal(across.direction, vector)
        other_product = product(other)
        exists = inner(other, other) > 0
        gain = jnp.where(exists, value - inner(other, other_product), 1)
        angle = jnp.arctan2(2 * inner(other, search.product), gain) / 2
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        top, new_product, slope = measured(
            _sum(cos, vector, sin, other), _sum(cos, search.product, sin, other_product)
        )
        # Polak and Ribière, in units of the residual, the last direction turned with the vector.
        kept = jnp.maximum(top.error / error - inner(slope, search.slope), 0) * across.length
        kept = jnp.where(search.steps > 0, kept, 0)
        direction = _sum(1, slope, kept, _sum(cos, other, -sin, vector))
        return _Search(search.steps + 1, top, new_product, slope, direction)

    def measured(vector: PyTree, product: PyTree) -> tuple[TopCurvature, PyTree, PyTree]:
        value = inner(vector, product)
        error, slope = polar(difference(product, scaled(value, vector)))
        return TopCurvature(vector, value, error), product, slope

    def unfinished(search: _Search) -> jax.Array:
        _, value, error = search.top
        return (search.steps < MOST_STEPS) & (error > RELATIVE_ERROR * jnp.abs(value))

    first = polar(vector).direction
    start = _Search(jnp.zeros((), jnp.int32), *measured(first, product(first)), probe)
    return lax.while_loop(unfinished, look, look(start)).top


def _orthogonal(tree: PyTree, vector: PyTree) -> PyTree:
    """Return the direction of the part of a tree that is orthogonal to a vector; 0 if none is."""
    once = polar(difference(tree, scaled(inner(vector, tree), vector))).direction
    # Of a tree along the vector there remains rounding, which the second time shrinks once more.
    twice = polar(difference(once, scaled(inner(vector, once), vector)))
    return jax.tree.map(lambda x: jnp.where(twice.length > 0.5, x, 0), twice.direction)


def _sum(a: Any, x: PyTree, b: Any, y: PyTree) -> PyTree:
    return jax.tree.map(lambda x, y: (a * x + b * y).astype(x.dtype), x, y)
