"""A closer look at end points: polished by Newton's method, and what kind of point each is."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.losses import value
from gdjax.sweeps.lanes import Lane
from gdjax.trees import PyTree, real_vector

LARGEST_HESSIAN = 256  # Beyond, an end point is taken as it is: its curvature is not looked at.
POLISHING_STEPS = 4
FARTHEST_POLISH = 0.05  # of the spread: what Newton's method moves farther was no rounding error
PROBE = 0.03  # of the spread: how far to look along a flat direction for a lower loss
ROUNDING = 64  # in machine epsilons of the loss at the start


class CriticalPoint(NamedTuple):
    """An end point after the closer look; under `vmap` with a leading axis."""

    vector: jax.Array  # [dim] as `real_vector` makes it of the parameters
    params: PyTree
    loss: jax.Array
    loss_error: jax.Array  # how far the loss may still be above that of the critical point
    curvature_min: jax.Array  # least and greatest eigenvalue of the Hessian; NaN where it is
    curvature_max: jax.Array  # too large to be looked at
    is_minimum: jax.Array


@lru_cache(maxsize=32)
def critical_points_program(lane: Lane) -> Callable[..., CriticalPoint]:
    """Return a function of `(values, numbers, key, params, spread)` to `CriticalPoint`s.

    `values`, `numbers` and `params` have a leading axis of points; `spread` is [dim].
    """

    @jax.jit
    def critical_points(values: PyTree, numbers: Any, key: Any, params: PyTree, spread: jax.Array):
        def look(point: tuple) -> CriticalPoint:
            values, number, params = point
            d = lane.descent(values, number, key)
            vector, unravel = real_vector(params)

            def loss(vector: jax.Array) -> jax.Array:
                return value(d.loss, unravel(vector), d.args)

            rounding = jnp.finfo(vector.dtype).eps * jnp.abs(value(d.loss, d.params, d.args))
            if vector.size > LARGEST_HESSIAN:
                unknown = jnp.full((), jnp.nan, vector.dtype)
                return CriticalPoint(
                    vector, params, loss(vector), rounding, unknown, unknown, jnp.bool_(True)
                )
            vector = _polished(loss, vector, spread)
            gradient, curvatures, axes = _quadratic_model(loss, vector)
            flat = jnp.abs(curvatures) <= _flatness(curvatures)
            slopes = axes.T @ gradient
            left = jnp.sum(jnp.where(flat, 0, slopes**2 / jnp.where(flat, 1, curvatures)))
            falls = _falls_along(loss, vector, axes, PROBE * spread, ROUNDING * rounding)
            return CriticalPoint(
                vector=vector,
                params=unravel(vector),
                loss=loss(vector),
                loss_error=jnp.abs(left) / 2 + ROUNDING * rounding,
                curvature_min=curvatures[0],
                curvature_max=curvatures[-1],
                is_minimum=~jnp.any(~flat & (curvatures < 0)) & ~jnp.any(flat & falls),
            )

        return lax.map(look, (values, numbers, params), batch_size=64)

    return critical_points


def _quadratic_model(loss: Callable, vector: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the gradient [dim], the curvatures [dim] and their axes [dim, dim], in columns."""
    # eigh knows neither float16 nor bfloat16.
    wide = jnp.promote_types(vector.dtype, jnp.float32)
    curvatures, axes = jnp.linalg.eigh(jax.hessian(loss)(vector).astype(wide))
    return jax.grad(loss)(vector).astype(wide), curvatures, axes


def _flatness(curvatures: jax.Array) -> jax.Array:
    """Return the curvature below which a direction counts as flat."""
    return jnp.sqrt(jnp.finfo(curvatures.dtype).eps) * jnp.max(jnp.abs(curvatures))


def _polished(loss: Callable, start: jax.Array, spread: jax.Array) -> jax.Array:
    """Return the critical point that Newton's method finds close by, or the start."""

    def polish(_: Any, vector: jax.Array) -> jax.Array:
        gradient, curvatures, axes = _quadratic_model(loss, vector)
        flat = jnp.abs(curvatures) <= _flatness(curvatures)
        along = jnp.where(flat, 0, (axes.T @ gradient) / jnp.where(flat, 1, curvatures))
        new = (vector - axes @ along).astype(vector.dtype)
        smaller = jnp.max(jnp.abs(jax.grad(loss)(new))) < jnp.max(jnp.abs(gradient))
        close = jnp.all(jnp.abs(new - start) <= FARTHEST_POLISH * spread)
        return jnp.where(smaller & close, new, vector)

    return lax.fori_loop(0, POLISHING_STEPS, polish, start)


def _falls_along(
    loss: Callable, vector: jax.Array, axes: jax.Array, reach: jax.Array, rounding: jax.Array
) -> jax.Array:
    """Return for each axis [dim] whether the loss is lower some way along it, on either side."""
    here = loss(vector)

    def falls(axis: jax.Array) -> jax.Array:
        step = axis.astype(vector.dtype) * reach
        there = jnp.minimum(loss(vector + step), loss(vector - step))
        return there < here - rounding

    return jax.vmap(falls)(axes.T)
