"""A glance at the end of a run, which suffices where it is a minimum beyond doubt."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.curvature.lanczos import times
from gdjax.descent import Descent, Status
from gdjax.diagnosis.end import End, is_noisy
from gdjax.diagnosis.flags import ill_conditioned, spiked
from gdjax.diagnosis.hold import hold
from gdjax.diagnosis.point import EVEN, NOISY, REMAINING
from gdjax.diagnosis.start import Start
from gdjax.diagnosis.surface import gradient_and_product, model, surface
from gdjax.diagnosis.verdict import Diagnosis, Verdict

CURVED = 10.0  # times the root of the machine epsilon of the largest curvature, the least one
REDUCED = 0.1  # of the gradient, what Newton's step leaves of it at most
HELD = 0.5  # of the least curvature, what Newton's step leaves of it at least


class Glance(NamedTuple):
    """What is seen at a glance."""

    is_minimum: jax.Array  # bool [] beyond doubt; else the rest means nothing
    holds: jax.Array  # bool [] whether the next updates leave it where it is
    loss: jax.Array
    grad_norm: jax.Array
    curvature_min: jax.Array
    curvature_max: jax.Array
    condition: jax.Array
    remaining: jax.Array
    alignment: jax.Array


def glance(d: Descent, end: End, first_loss: jax.Array) -> Glance:
    """Return what is seen at the end of a run that began with `first_loss`."""
    at, x = surface(d, end.params)
    m = model(at, x)
    # Largest entries, as norms without under- and overflow would take half of the time.
    steepness = jnp.max(jnp.abs(m.gradient))
    largest = jnp.maximum(jnp.abs(m.curvatures[0]), jnp.abs(m.curvatures[-1]))
    curved = m.curvatures[0] > CURVED * at.eps**0.5 * largest
    along = m.slopes / jnp.where(curved, m.curvatures, 1)
    gradient, product = gradient_and_product(at, x - times(m.axes, along), m.axes[:, 0])
    rounding = NOISY * at.eps * largest * jnp.max(jnp.abs(x))
    reached = jnp.max(jnp.abs(gradient)) <= jnp.maximum(REDUCED * steepness, rounding)
    keeps = jnp.sum(product * m.axes[:, 0]) >= HELD * m.curvatures[0]
    remaining = jnp.sum(m.slopes * along) / 2
    even = EVEN * steepness * (steepness / jnp.where(largest > 0, 2 * largest, 1))
    few = jnp.maximum(even, REMAINING * jnp.abs(first_loss - m.loss))
    arrived = (end.status == Status.CONVERGED) & curved & reached & keeps & (remaining <= few)
    if is_noisy(d.batches):
        arrived = jnp.zeros((), bool)
    holds, alignment = hold(d, end, at, x, m.times, m.curvatures[-1], few)
    return Glance(
        is_minimum=arrived & holds,
        holds=holds,
        loss=m.loss,
        grad_norm=steepness,
        curvature_min=m.curvatures[0],
        curvature_max=m.curvatures[-1],
        condition=m.curvatures[-1] / m.curvatures[0],
        remaining=remaining,
        alignment=alignment,
    )


def from_glance(g: Glance, end: End, start: Start) -> Diagnosis:
    """Return the diagnosis of what is a minimum at a glance."""
    # Constants, so that a sweep need not compute them for each of its lanes.
    unknown = np.asarray(np.nan, g.grad_norm.dtype)
    zero, no = np.zeros((), np.int32), np.zeros((), bool)
    return Diagnosis(
        verdict=np.asarray(Verdict.MINIMUM, np.int8),
        grad_norm=g.grad_norm,
        curvature_min=g.curvature_min,
        curvature_max=g.curvature_max,
        index=zero,
        flat_dimension=zero,
        condition=g.condition,
        remaining=g.remaining,
        period=zero,
        alignment=g.alignment,
        loss_slope=unknown,
        steps_to_tolerance=np.zeros_like(unknown),
        lyapunov=unknown,
        spectral_radius=unknown,
        ill_conditioned=ill_conditioned(g.condition, g.alignment),
        unstable=no,
        spiked=spiked(end, start, g.loss, jnp.zeros_like(g.loss)),
        noise_floor=no,
        precision_floor=no,
    )
