"""The quadratic model of a loss; in many dimensions only the ends of its spectrum are seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gdjax.curvature.extremes import LARGEST_HESSIAN, both_ends, steps_for
from gdjax.curvature.lanczos import solved, times
from gdjax.diagnosis.probes import flat_directions
from gdjax.diagnosis.surface import Model, Surface, flatness, model, norm

LEAST = 2  # curvatures that are looked for, enough to tell an index of 1 from others


class Quadratic(NamedTuple):
    """What is seen of a quadratic model; all [dim] curvatures, or the two least and the largest."""

    loss: jax.Array
    gradient: jax.Array  # [dim]
    step: jax.Array  # [dim] to its critical point, but along flat axes
    steepness: jax.Array  # of the gradient, but along flat axes
    curvatures: jax.Array  # [k] in ascending order
    axes: jax.Array  # [k, dim]
    error: jax.Array  # bound on that of the curvatures

    def directions(
        self, at: Surface, x: jax.Array, chosen: jax.Array, scale: jax.Array
    ) -> jax.Array:
        """Return directions [n, dim] within the span of chosen axes; 0 where there are fewer."""
        slopes = times(self.axes, self.gradient)
        m = Model(self.loss, self.gradient, slopes, self.curvatures, self.axes.T, chosen)
        return flat_directions(at, x, m, scale)


def quadratic(at: Surface, x: jax.Array) -> Quadratic:
    """Return the quadratic model of a loss at a point."""
    return _whole(at, x) if x.size <= LARGEST_HESSIAN else _in_part(at, x)


def _whole(at: Surface, x: jax.Array) -> Quadratic:
    m = model(at, x)
    steepness = jnp.max(jnp.where(m.flat, 0, jnp.abs(m.slopes)))
    exact = jnp.zeros((), x.dtype)
    return Quadratic(m.loss, m.gradient, m.step(), steepness, m.curvatures, m.axes.T, exact)


def _in_part(at: Surface, x: jax.Array) -> Quadratic:
    loss, gradient = jax.value_and_grad(at.loss)(x)
    _, product = jax.linearize(jax.grad(at.loss), x)
    steps = steps_for(x.size, None)
    high, low = both_ends(product, x, jax.random.key(0), LEAST, steps)
    curvatures = jnp.append(-low.values, high.values[0])
    axes = jnp.concatenate([low.vectors, high.vectors[:1]])
    flat = jnp.abs(curvatures) <= flatness(at.eps) * jnp.max(jnp.abs(curvatures))
    along = jnp.where(flat, times(axes, gradient), 0)
    return Quadratic(
        loss=loss,
        gradient=gradient,
        step=solved(product, -gradient, steps, flatness(at.eps)),
        steepness=norm(gradient - times(along, axes)),
        curvatures=curvatures,
        axes=axes,
        error=jnp.maximum(jnp.max(low.errors), high.errors[0]),
    )
