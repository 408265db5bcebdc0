"""A glance at the end of a run, which suffices where it is a minimum beyond doubt."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.curvature.lanczos import times
from gdjax.descent import Descent, Status
from gdjax.diagnosis.end import End, asks_for_gradient, is_noisy
from gdjax.diagnosis.flags import ill_conditioned, spiked
from gdjax.diagnosis.hold import hold
from gdjax.diagnosis.point import EVEN, NEAR, NOISY, REMAINING
from gdjax.diagnosis.start import Start
from gdjax.diagnosis.surface import Model, gradient_and_product, largest_entry, model, surface
from gdjax.diagnosis.verdict import Array, Diagnosis, Verdict

CURVED = 10.0  # times the root of the machine epsilon of the largest curvature, the least one
REDUCED = 0.1  # of the gradient, what Newton's step leaves of it at most
HELD = 0.5  # of the least curvature, what Newton's step leaves of it at least


class Minimum(NamedTuple):
    """What a diagnosis says of a minimum, but for what it says of each."""

    grad_norm: Array
    curvature_min: Array
    curvature_max: Array
    condition: Array
    remaining: Array
    alignment: Array
    ill_conditioned: Array
    spiked: Array


class Glance(NamedTuple):
    """What is seen at a glance."""

    is_minimum: jax.Array  # bool [] beyond doubt; else `minimum` means nothing
    holds: jax.Array  # bool [] whether the next updates leave it where it is
    minimum: Minimum
    model: Model


def glance(d: Descent, end: End, start: Start) -> Glance:
    """Return what is seen at the end of a run that began so."""
    at, x = surface(d, end.params)
    m = model(at, x)
    # Largest entries, as norms without under- and overflow would take half of the time.
    steepness = largest_entry(end.params, m.gradient)
    largest = jnp.maximum(jnp.abs(m.curvatures[0]), jnp.abs(m.curvatures[-1]))
    curved = m.curvatures[0] > CURVED * at.eps**0.5 * largest
    along = m.slopes / jnp.where(curved, m.curvatures, 1)
    gradient, product = gradient_and_product(at, x - times(m.axes, along), m.axes[:, 0])
    rounding = NOISY * at.eps * largest * jnp.max(jnp.abs(x))
    reached = jnp.max(jnp.abs(gradient)) <= jnp.maximum(REDUCED * steepness, rounding)
    keeps = jnp.sum(product * m.axes[:, 0]) >= HELD * m.curvatures[0]
    remaining = jnp.sum(m.slopes * along) / 2
    even = EVEN * steepness * (steepness / jnp.where(largest > 0, 2 * largest, 1))
    few = REMAINING * jnp.abs(start.loss - m.loss)
    if asks_for_gradient(d):  # and so it is small here
        near = jnp.max(jnp.abs(along)) <= NEAR * start.scale
        few = jnp.where(near, jnp.maximum(even, few), few)
    arrived = (end.status == Status.CONVERGED) & curved & reached & keeps & (remaining <= few)
    if is_noisy(d.batches):
        arrived = jnp.zeros((), bool)
    holds, alignment = hold(d, end, at, x, m.loss, m.gradient, m.times, m.curvatures[-1], few)
    condition = m.curvatures[-1] / m.curvatures[0]
    minimum = Minimum(
        grad_norm=steepness,
        curvature_min=m.curvatures[0],
        curvature_max=m.curvatures[-1],
        condition=condition,
        remaining=remaining,
        alignment=alignment,
        ill_conditioned=ill_conditioned(condition, alignment),
        spiked=spiked(end, start, m.loss, jnp.zeros_like(m.loss)),
    )
    return Glance(arrived & holds, holds, minimum, m)


def of_minimum(seen: Minimum) -> Diagnosis:
    """Return the diagnosis of a minimum; what is the same of each is a number, not an array."""
    unknown = np.asarray(np.nan, seen.grad_norm.dtype)
    zero, no = np.zeros((), np.int32), np.zeros((), bool)
    return Diagnosis(
        verdict=np.asarray(Verdict.MINIMUM, np.int8),
        index=zero,
        flat_dimension=zero,
        counted=~no,
        period=zero,
        loss_slope=unknown,
        steps_to_tolerance=np.zeros_like(unknown),
        lyapunov=unknown,
        spectral_radius=unknown,
        unstable=no,
        noise_floor=no,
        precision_floor=no,
        **seen._asdict(),
    )
