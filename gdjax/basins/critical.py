"""A closer look at end points: polished by Newton's method, and what kind of point each is.

All of it is done in coordinates in units of their spread, so that scales do not matter.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.curvature.extremes import LARGEST_HESSIAN
from gdjax.descent.description import whole_arguments
from gdjax.diagnosis.surface import flatness
from gdjax.losses import value
from gdjax.sweeps.lanes import Lane
from gdjax.trees import PyTree, real_vector

MOST_POLISHING = 60  # steps: at a degenerate minimum each one leaves a fixed share of the way
FARTHEST_POLISH = 0.05  # of the spread: what Newton's method moves farther was no rounding error
PROBES = (0.25, 1.0, 10.0, 30.0)  # in units of the tolerance: where a lower loss is looked for
FARTHEST_PROBE = 0.03  # of the spread
ULPS = 4  # how far the loss is sampled to see how it is rounded


class CriticalPoint(NamedTuple):
    """An end point after the closer look; under `vmap` with a leading axis."""

    vector: jax.Array  # [dim] as `real_vector` makes it of the parameters
    params: PyTree
    loss: jax.Array
    loss_error: jax.Array  # how far rounding and the last of the way down may have left it
    curvature_min: jax.Array  # least and greatest eigenvalue of the Hessian; NaN where it is
    curvature_max: jax.Array  # too large to be looked at
    is_minimum: jax.Array
    is_degenerate: jax.Array  # whether its curvature along some axis is rounding


class _Model(NamedTuple):
    """The quadratic model of a loss at a point."""

    gradient: jax.Array  # [dim]
    hessian: jax.Array  # [dim, dim]
    slopes: jax.Array  # [dim] along each axis
    curvatures: jax.Array  # [dim] in ascending order
    axes: jax.Array  # [dim, dim] in columns
    flat: jax.Array  # [dim] whether the curvature is rounding

    def step(self) -> jax.Array:
        """Return Newton's step to the critical point, none along flat axes."""
        along = jnp.where(self.flat, 0, self.slopes / jnp.where(self.flat, 1, self.curvatures))
        return -self.axes @ along

    def fall(self) -> jax.Array:
        """Return how far the loss is from that of the critical point."""
        squares = self.slopes**2 / jnp.where(self.flat, 1, self.curvatures)
        return jnp.abs(jnp.sum(jnp.where(self.flat, 0, squares))) / 2


@lru_cache(maxsize=32)
def critical_points_program(lane: Lane) -> Callable[..., CriticalPoint]:
    """Return a function of `(values, numbers, key, params, spread, tol)` to `CriticalPoint`s.

    `values`, `numbers` and `params` have a leading axis of points; `spread` is [dim].
    """

    @jax.jit
    def critical_points(values: PyTree, numbers: Any, key: Any, params: PyTree, spread, tol):
        def look(point: tuple) -> CriticalPoint:
            values, number, params = point
            vector, unravel = real_vector(params)
            loss = scaled_loss(lane, values, number, key, unravel, spread)
            found = _look_closer(loss, vector / spread, tol, spread)
            vector = found.vector * spread
            return found._replace(vector=vector, params=unravel(vector))

        return lax.map(look, (values, numbers, params), batch_size=64)

    return critical_points


def scaled_loss(
    lane: Lane, values: PyTree, number: Any, key: Any, unravel: Callable, spread: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Return the loss of a lane as a function of a vector in units of the spread."""
    d = lane.descent(values, number, key)
    return lambda scaled: value(d.loss, unravel(scaled * spread), whole_arguments(d))


def _look_closer(
    loss: Callable, scaled: jax.Array, tol: jax.Array, spread: jax.Array
) -> CriticalPoint:
    if scaled.size > LARGEST_HESSIAN:  # it is taken as it is: its curvature is not looked at
        unknown, yes, no = jnp.full((), jnp.nan, scaled.dtype), jnp.ones((), bool), jnp.bool_(False)
        rounding = _rounding(loss, scaled)
        return CriticalPoint(scaled, None, loss(scaled), rounding, unknown, unknown, yes, no)
    scaled, model = _polished(loss, scaled, tol)
    rounding = _rounding(loss, scaled)
    arrived = jnp.all(jnp.abs(model.step()) <= tol)
    rises = ~jnp.any(~model.flat & (model.curvatures < 0))
    own_units = jnp.linalg.eigvalsh(model.hessian / (spread[:, None] * spread[None, :]))
    return CriticalPoint(
        vector=scaled,
        params=None,
        loss=loss(scaled),
        loss_error=(model.fall() + rounding).astype(scaled.dtype),
        curvature_min=own_units[0],
        curvature_max=own_units[-1],
        is_minimum=arrived & rises & ~_falls_nearby(loss, scaled, model, rounding, tol),
        is_degenerate=jnp.any(model.flat),
    )


def quadratic_model(loss: Callable, scaled: jax.Array) -> _Model:
    """Return the quadratic model of a loss at a point."""
    # eigh knows neither float16 nor bfloat16.
    wide = jnp.promote_types(scaled.dtype, jnp.float32)
    gradient, hessian = jax.grad(loss)(scaled).astype(wide), jax.hessian(loss)(scaled).astype(wide)
    curvatures, axes = jnp.linalg.eigh(hessian)
    rounded = flatness(float(jnp.finfo(scaled.dtype).eps))
    flat = jnp.abs(curvatures) <= rounded * jnp.max(jnp.abs(curvatures))
    return _Model(gradient, hessian, axes.T @ gradient, curvatures, axes, flat)


def _polished(loss: Callable, start: jax.Array, tol: jax.Array) -> tuple[jax.Array, _Model]:
    """Return the critical point that Newton's method finds close by, or the best on the way."""

    def polish(carry: tuple) -> tuple:
        steps, scaled, model, _ = carry
        new = (scaled + model.step()).astype(scaled.dtype)
        new_model = quadratic_model(loss, new)
        better = jnp.max(jnp.abs(new_model.gradient)) < jnp.max(jnp.abs(model.gradient))
        better &= jnp.all(jnp.abs(new - start) <= FARTHEST_POLISH)
        there = jnp.all(jnp.abs(new - scaled) <= 1e-3 * tol)
        kept = jax.tree.map(lambda a, b: jnp.where(better, a, b), (new, new_model), (scaled, model))
        return steps + 1, *kept, ~better | there

    def unfinished(carry: tuple) -> jax.Array:
        steps, _, _, done = carry
        return (steps < MOST_POLISHING) & ~done

    first = jnp.zeros((), jnp.int32), start, quadratic_model(loss, start), jnp.zeros((), bool)
    _, scaled, model, _ = lax.while_loop(unfinished, polish, first)
    return scaled, model


def _rounding(loss: Callable, scaled: jax.Array) -> jax.Array:
    """Return how far the loss is rounded here: how it scatters among the nearest numbers."""
    # Two signs for each coordinate, in patterns that keep the moves of two coordinates apart.
    number = jnp.arange(scaled.size)
    signs = jnp.stack([1 - 2 * ((number >> bit) & 1) for bit in range(4)]).astype(scaled.dtype)
    moves = jnp.concatenate([signs, -signs]) * ULPS * jnp.finfo(scaled.dtype).eps
    here = loss(scaled)
    there = lax.map(lambda move: loss(scaled * (1 + move)), moves)
    return jnp.max(jnp.abs(there - here)) + jnp.finfo(here.dtype).eps * jnp.abs(here)


def _falls_nearby(
    loss: Callable, scaled: jax.Array, model: _Model, rounding: jax.Array, tol: jax.Array
) -> jax.Array:
    """Return whether the loss is lower a tolerance away along any axis, farther along flat ones."""
    here = loss(scaled)

    def falls(axis: jax.Array, flat: jax.Array) -> jax.Array:
        # Farther along an axis that is not flat, there may well be another minimum.
        reach = jnp.array(PROBES, scaled.dtype) * tol
        reach = jnp.where((reach <= tol) | (flat & (reach <= FARTHEST_PROBE)), reach, 0)
        moves = jnp.concatenate([reach, -reach])[:, None] * axis.astype(scaled.dtype)[None, :]
        there = jax.vmap(lambda move: loss(scaled + move))(moves)
        return jnp.any(there < here - rounding)

    return jnp.any(jax.vmap(falls)(model.axes.T, model.flat))
