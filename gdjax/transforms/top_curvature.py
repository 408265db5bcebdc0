"""The largest curvature at a point, refined from where it was a step before."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.transforms.vectors import difference, inner, polar, scaled
from gdjax.trees import PyTree

MOST_REFINEMENTS = 32  # products with the Hessian; from a random vector a few are enough
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
    next: PyTree  # where to look: the residual, or at first the probe


def top_curvature(
    product: Callable[[PyTree], PyTree], vector: PyTree, probe: PyTree
) -> TopCurvature:
    """Return the largest eigenvalue of a symmetric operator, to within a twentieth.

    Power iteration finds the eigenvalue of largest magnitude, which at a saddle may be negative.
    This takes the best vector of the plane that its next vector and the last one span: at the same
    cost it climbs to the largest eigenvalue, and never falls.

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
        vector, other = search.top.vector, _orthogonal(search.next, search.top.vector)
        other_product = product(other)
        mixed = inner(other, search.product)
        gain = search.top.value - inner(other, other_product)
        angle = jnp.arctan2(2 * mixed, gain) / 2
        along, across = jnp.cos(angle), jnp.sin(angle)
        return measured(
            search.steps + 1,
            _sum(along, vector, across, other),
            _sum(along, search.product, across, other_product),
        )

    def measured(steps: jax.Array, vector: PyTree, product: PyTree) -> _Search:
        value = inner(vector, product)
        residual = difference(product, scaled(value, vector))
        return _Search(
            steps, TopCurvature(vector, value, polar(residual).length), product, residual
        )

    def unfinished(search: _Search) -> jax.Array:
        _, value, error = search.top
        unclear = error > RELATIVE_ERROR * jnp.abs(value)
        return (search.steps < MOST_REFINEMENTS) & unclear

    first = polar(vector).direction
    search = measured(jnp.zeros((), jnp.int32), first, product(first))
    search = look(search._replace(next=probe))
    return lax.while_loop(unfinished, look, search).top


def _orthogonal(tree: PyTree, vector: PyTree) -> PyTree:
    """Return the direction of the part of a tree that is orthogonal to a vector; 0 if none is."""
    direction = polar(tree).direction
    once = polar(difference(direction, scaled(inner(vector, direction), vector))).direction
    # Of a tree along the vector there remains rounding, which the second time shrinks once more.
    twice = polar(difference(once, scaled(inner(vector, once), vector)))
    return jax.tree.map(lambda x: jnp.where(twice.length > 0.5, x, 0), twice.direction)


def _sum(a: jax.Array, x: PyTree, b: jax.Array, y: PyTree) -> PyTree:
    return jax.tree.map(lambda x, y: (a * x + b * y).astype(x.dtype), x, y)
