"""Critical points by Newton's method, whatever their index, with what is known of their errors."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.basins.quadratic import Quadratic, quadratic
from gdjax.diagnosis.probes import nothing_seen, probed
from gdjax.diagnosis.surface import Surface, flatness, noise, norm
from gdjax.trees import computed_where

MOST_STEPS = 60  # at a degenerate point each one leaves a fixed share of the way
ARRIVED = 0.05  # of the first step, what the last one is at most
NOISY = 8.0  # times the noise sampled, what may be rounding
TAIL = 2.0  # of the last step, what may remain where each one halves the way


class Stationary(NamedTuple):
    """Where Newton's method ended."""

    vector: jax.Array  # [dim], at least in float32
    loss: jax.Array
    loss_error: jax.Array
    grad_norm: jax.Array  # largest absolute entry
    error: jax.Array  # bound on the distance to the critical point, but along degenerate axes
    # Eigenvalues of the Hessian in ascending order: all [dim], or beyond 256 parameters [3] the two
    # least and the largest.
    curvatures: jax.Array
    curvature_error: jax.Array  # bound on the error of each
    axis: jax.Array  # [dim] eigenvector of the least
    arrived: jax.Array  # bool [] whether it is a critical point at all
    falls: jax.Array  # bool [] whether the loss falls along axes without a certain curvature

    @property
    def negative(self) -> jax.Array:
        """The number of eigenvalues that are negative beyond their error."""
        return jnp.sum(self.curvatures < -self.curvature_error[..., None], -1, dtype=jnp.int32)

    @property
    def is_certain(self) -> jax.Array:
        """Whether every eigenvalue is known to differ from 0."""
        return jnp.all(jnp.abs(self.curvatures) > self.curvature_error[..., None], -1)

    @property
    def is_minimum(self) -> jax.Array:
        """Whether the loss falls nowhere nearby; the Hessian may be singular."""
        return self.arrived & (self.negative == 0) & ~self.falls


def stationary_near(
    at: Surface,
    start: jax.Array,
    farthest: jax.Array,
    scale: jax.Array,
    curvature: Any = 0.0,
) -> Stationary:
    """Return the critical point that Newton's method finds within `farthest` of the start.

    Each step must lessen the gradient. `scale` is a distance and `curvature` one of another point,
    to compare others with.
    """

    def polish(carry: _Polish) -> _Polish:
        new = quadratic(at, carry.trial)
        is_first = carry.steps == 0
        near = norm(carry.trial - start) <= farthest
        better = is_first | (near & (norm(new.gradient) < norm(carry.model.gradient)))
        # A degenerate point is told by its eigenvalues: to the last they change with every step.
        change = jnp.max(jnp.abs(new.curvatures - carry.model.curvatures))
        x, m = jax.tree.map(
            lambda a, b: jnp.where(better, a, b), (carry.trial, new), (carry.x, carry.model)
        )
        return _Polish(
            steps=carry.steps + 1,
            x=x,
            model=m,
            trial=x + m.step,
            change=change,
            reach=jnp.where(is_first, norm(m.step), carry.reach),
            curvature=jnp.where(is_first, jnp.max(jnp.abs(m.curvatures)), carry.curvature),
            done=~better,
        )

    def unfinished(carry: _Polish) -> jax.Array:
        return (carry.steps < MOST_STEPS) & ~carry.done

    shapes = jax.eval_shape(lambda x: quadratic(at, x), start)
    unknown = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    zero = jnp.zeros((), start.dtype)
    first = _Polish(
        jnp.zeros((), jnp.int32), start, unknown, start, zero, zero, zero, jnp.zeros((), bool)
    )
    end = lax.while_loop(unfinished, polish, first)
    # Where all curvatures vanish at once, they do so beside those of other points.
    largest = jnp.maximum(end.curvature, jnp.max(jnp.abs(end.model.curvatures)))
    curvature_error = TAIL * end.change + flatness(at.eps) * jnp.maximum(largest, curvature)
    curvature_error += end.model.error
    return _with_errors(at, end.x, end.model, curvature_error, end.reach, scale)


class _Polish(NamedTuple):
    """Newton's method between two steps."""

    steps: jax.Array
    x: jax.Array  # [dim] the best so far
    model: Quadratic  # there
    trial: jax.Array  # [dim] where the next step leads
    change: jax.Array  # of the eigenvalues, over the last step
    reach: jax.Array  # length of the first step
    curvature: jax.Array  # largest at the start
    done: jax.Array


def _with_errors(
    at: Surface,
    x: jax.Array,
    m: Quadratic,
    curvature_error: jax.Array,
    reach: jax.Array,
    scale: jax.Array,
) -> Stationary:
    rounding = jax.tree.map(lambda leaf: leaf[0], noise(at, x[None]))
    sizes = jnp.abs(m.curvatures)
    uncertain = ~(sizes > curvature_error)
    remaining = norm(m.step)
    quiet = m.steepness <= NOISY * rounding.gradient
    least = jnp.min(jnp.where(uncertain, jnp.inf, sizes))
    seen = computed_where(
        jnp.any(uncertain) & jnp.all(jnp.isfinite(m.curvatures)),
        lambda x: probed(
            at,
            x,
            m.loss,
            m.directions(at, x, uncertain, scale),
            rounding.loss,
            scale,
            curvature_error,
        ),
        (x,),
        nothing_seen(),
    )
    return Stationary(
        vector=x,
        loss=m.loss,
        loss_error=rounding.loss + jnp.abs(jnp.dot(m.gradient, m.step)),
        grad_norm=jnp.max(jnp.abs(m.gradient)),
        error=TAIL * remaining + rounding.gradient / least + at.eps * norm(x),
        curvatures=m.curvatures,
        curvature_error=curvature_error,
        axis=m.axes[0],
        arrived=(remaining <= ARRIVED * reach) | quiet,
        falls=seen.falls,
    )
