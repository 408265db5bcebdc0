"""From the evidence to the verdict."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Descent, Status
from gdjax.diagnosis.ahead import MOST_WINDOWS, Ahead, go_on, nothing_yet
from gdjax.diagnosis.end import End, asks_for_gradient, is_noisy, plain, state_at, update_of
from gdjax.diagnosis.flags import ill_conditioned, spiked
from gdjax.diagnosis.in_time import followed, steps_in_time
from gdjax.diagnosis.noise import batch_noise
from gdjax.diagnosis.point import NOISY, NONE, REMAINING, Point, critical_point
from gdjax.diagnosis.probes import downhill
from gdjax.diagnosis.stability import spectral_radius
from gdjax.diagnosis.start import Start
from gdjax.diagnosis.surface import (
    is_large,
    norm,
    surface,
)
from gdjax.diagnosis.trend import Trend, declines, highest_later, trend
from gdjax.diagnosis.verdict import Diagnosis, Verdict
from gdjax.trees import PyTree, computed_where, real_vector, strongly_typed

APART = 10.0  # times as far as the tolerance allows by the curvature of a minimum
RISEN = 100.0  # times its noise, what the loss rises by where a run leaves its floor
CLOSE = 1e-3  # of the descent, what remains of it at a saddle that a run has not left

LEFT = (Verdict.SADDLE, Verdict.MAXIMUM)  # where runs do not stay, but may stop
DESCENTS = (Verdict.MINIMUM, Verdict.SADDLE, Verdict.VALLEY, Verdict.PLATEAU, Verdict.SLOW)


class Found(NamedTuple):
    """What there is to see at the end."""

    point: Point
    gradient: jax.Array  # [dim]
    grad_norm: jax.Array  # its largest entry
    holds: jax.Array  # bool [] whether the next updates leave the run there
    alignment: jax.Array  # of the next updates
    tol: jax.Array  # of the gradient


class Dynamics(NamedTuple):
    """What going on from the end shows."""

    ahead: Ahead
    trend: Trend
    lifts: jax.Array  # whether the loss falls more steeply later
    endless: jax.Array  # whether it falls ever more steeply, as far as one looks
    leaves: jax.Array  # whether the run leaves for infinity, or for where there are no numbers
    noise_floor: jax.Array
    moves: jax.Array  # whether the next update is not 0
    spectral_radius: jax.Array
    unstable: jax.Array


def is_settled(d: Descent, end: End, start: Start, found: Found) -> jax.Array:
    """Return whether the point alone decides."""
    return _is_reached(d, end, start, found) & (found.holds | _is_any(found.point.kind, LEFT))


def tolerance(d: Descent, start: Start) -> jax.Array:
    """Return the tolerance of the gradient, relative to the start where none is asked for."""
    at, _ = surface(d, d.params)
    asked = None if d.stop is None else d.stop.gradient_tolerance(d.params)
    own = at.eps**0.5 * start.grad_norm
    return own if asked is None else jnp.asarray(asked, own.dtype)


def ahead_of(d: Descent, end: End) -> Ahead:
    """Return what is seen of a run before it goes on from its end."""
    return nothing_yet(state_at(plain(d), end))


def went_on(d: Descent, end: End, tol: jax.Array, so_far: Ahead, most: Any = MOST_WINDOWS) -> Ahead:
    """Return what a run does further on, in `most` windows at most; a diverged one does nothing."""
    return go_on(plain(d), so_far, tol, end.status != Status.DIVERGED, most)


def look_ahead(d: Descent, end: End, start: Start, found: Found, ahead: Ahead) -> Dynamics:
    """Return what going on from the end shows."""
    d_on, p, tol = plain(d), found.point, found.tol
    state = state_at(d_on, end)
    at, x = surface(d, end.params)
    steps = jnp.asarray(end.steps, jnp.int32)
    seen = trend(ahead, state.loss.astype(x.dtype), found.grad_norm, tol, steps)
    noise_floor = jnp.zeros((), bool)
    if is_noisy(d.batches):
        # The noise that a gradient is lost in holds a run up only at too large a rate.
        declining = declines(ahead)
        noise_floor = ~declining & (batch_noise(d, end, found.gradient) >= norm(found.gradient))
        # Losses of batches scatter, but not up to here once it has come down.
        later_loss = at.loss(surface(d, ahead.state.params)[1])
        lower = (p.loss > highest_later(ahead)) | (p.loss > later_loss)
        seen = seen._replace(falls=seen.falls | declining | ~noise_floor & lower)
    # Where it arrives as one looks, that is when; and what is not calm never does.
    asked = ahead.finite & ~ahead.closed & (ahead.first == 0) & (ahead.windows > 0)
    # Nor is it asked of what is at a critical point already, but for rounding.
    asked &= _is_calm(ahead, seen) & ~((p.kind != NONE) & p.at_noise)
    later = followed(d_on, ahead, asked, steps, tol)
    rounding = p.noise.gradient
    centres, wanted, later_point = _centres(
        d, end, ahead, seen, later.state.params, asked, rounding
    )
    in_time = steps_in_time(d_on, at, ahead, asked, later, later_point, p, steps, tol)
    in_time = jnp.where(jnp.isnan(in_time), jnp.maximum(seen.steps, later.steps), in_time)
    radius, unstable = spectral_radius(d_on, centres, wanted)
    away = downhill(at, x, p.loss, found.gradient, p.noise.loss, start.scale)
    return Dynamics(
        ahead=ahead,
        trend=seen._replace(steps=jnp.where(asked, in_time, seen.steps)),
        lifts=seen.lifts | away.lifts,
        endless=away.endless,
        leaves=~ahead.finite | seen.grows & (~seen.falls | away.endless),
        noise_floor=noise_floor,
        moves=jnp.any(update_of(d_on, state) != 0),
        spectral_radius=radius.astype(x.dtype),
        unstable=unstable,
    )


def _centres(
    d: Descent,
    end: End,
    ahead: Ahead,
    seen: Trend,
    later_on: PyTree,
    asked: jax.Array,
    rounding: jax.Array,
) -> tuple[End, jax.Array, jax.Array | None]:
    """Return ends around which a run moves, with a leading axis, and a critical point later on.

    They are critical points near two others, and the first of these: the middle of its orbit, of a
    run that has left the start, else the end; and where it is `later_on`. In the middle of a cycle
    from one minimum to another there is none. With them comes which of them are unlike those
    before. The point later on means nothing but where it is `asked` for. `rounding` is of the
    gradient.
    """
    orbits = ahead.finite & ~seen.falls & ~seen.grows & (ahead.windows > 0)
    left = ~ahead.finite | seen.grows | (end.status == Status.DIVERGED)
    fresh = strongly_typed(d.optimizer.init(d.params))
    scaled = ahead.state.opt_state
    # Before its first step an optimizer has no scale yet.
    unscaled = (jnp.asarray(end.steps) == 0) & ahead.finite & (ahead.windows > 0)
    about = [
        (unscaled, (end.params, scaled)),
        (orbits, (ahead.centre, scaled)),
        (left, (d.params, fresh)),
    ]
    params, opt_state = end.params, end.opt_state
    for chosen, other in about:
        params, opt_state = jax.tree.map(
            lambda a, b, chosen=chosen: jnp.where(chosen, a, b), other, (params, opt_state)
        )
    at, x = surface(d, params)
    own, unravel = real_vector(params)
    ends, wanted, later = [x], [jnp.ones((), bool)], None
    if not is_large(d):

        def critical(given: tuple[jax.Array, jax.Array]) -> jax.Array:
            needed, x = given
            return computed_where(needed, partial(critical_point, at), (x, rounding), x)

        points = jnp.stack([x, surface(d, later_on)[1]])
        first, later = lax.map(critical, (jnp.stack([*wanted, asked | orbits]), points))
        ends = [first, later, x]
        wanted += [orbits, jnp.any(first != x)]
    ends = [end._replace(params=unravel(x.astype(own.dtype)), opt_state=opt_state) for x in ends]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *ends), jnp.stack(wanted), later


def decided(d: Descent, end: End, start: Start, found: Found, on: Dynamics | None) -> Diagnosis:
    """Return the diagnosis; without dynamics, what the point decides."""
    p, tol = found.point, found.tol
    no, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    unknown = jnp.full_like(p.loss, jnp.nan)
    verdict = p.kind if on is None else _verdict(d, end, start, found, on)
    is_critical = (verdict == p.kind) & (p.kind != NONE)
    alignment = found.alignment if on is None else on.trend.alignment.astype(p.loss.dtype)
    is_orbit = verdict == Verdict.OSCILLATING
    descends = _is_any(verdict, DESCENTS)
    steps = unknown * 0 if on is None else on.trend.steps.astype(p.loss.dtype)
    never = is_orbit | _is_any(verdict, (Verdict.BOUNDED, Verdict.DIVERGED))
    arrived = is_critical | ((verdict == Verdict.PLATEAU) & (found.grad_norm <= tol))
    limited = (end.status == Status.STEP_LIMIT) & (found.grad_norm > tol)
    at_floor = is_critical & p.at_noise & limited
    unstable = no
    if on is not None:
        unstable = on.unstable & ~_is_any(verdict, LEFT)
        if not is_noisy(d.batches):  # what wanders for ever between minima that would hold it
            unstable |= (verdict == Verdict.BOUNDED) & (on.trend.lyapunov > 0)
    return Diagnosis(
        verdict=verdict.astype(jnp.int8),
        grad_norm=found.grad_norm,
        curvature_min=p.curvature_min,
        curvature_max=p.curvature_max,
        index=p.negative,
        flat_dimension=p.flat_dimension,
        counted=jnp.asarray(not is_large(d)),
        condition=p.condition,
        remaining=jnp.where(is_critical, p.remaining, jnp.nan),
        period=zero if on is None else jnp.where(is_orbit, on.ahead.orbit.period, 0),
        alignment=alignment,
        loss_slope=unknown if on is None else on.trend.slope.astype(p.loss.dtype),
        steps_to_tolerance=jnp.where(arrived, 0, jnp.where(never, jnp.inf, steps)),
        lyapunov=unknown if on is None else on.trend.lyapunov.astype(p.loss.dtype),
        spectral_radius=unknown if on is None else on.spectral_radius,
        ill_conditioned=descends
        & (verdict != Verdict.PLATEAU)
        & ill_conditioned(p.condition, alignment),
        unstable=unstable,
        spiked=descends & spiked(end, start, p.loss, p.noise.loss),
        noise_floor=no if on is None else on.noise_floor & (limited | never) & ~on.trend.falls,
        precision_floor=no
        if on is None
        else (at_floor | (limited & on.ahead.stays & on.moves)) & (on.ahead.first == 0),
    )


def _verdict(d: Descent, end: End, start: Start, found: Found, on: Dynamics) -> jax.Array:
    p, tol = found.point, found.tol
    a, t = on.ahead, on.trend
    critical = p.kind != NONE
    converged = end.status == Status.CONVERGED
    leaves = on.leaves | a.closed | ~(t.falls | a.resting | a.arrives)
    near = jnp.abs(p.remaining) <= CLOSE * jnp.abs(start.loss - p.loss)
    calm, comes = _is_calm(a, t), a.first > 0
    # What deviates from where it should rest may come to rest at another minimum.
    departs = ~found.holds & (p.kind == Verdict.MINIMUM)
    elsewhere = departs & ~leaves & _is_far(d, a, p, tol)
    wanders = departs & leaves & on.unstable & (highest_later(a) > p.loss + RISEN * p.noise.loss)
    stays = ~leaves & ~elsewhere
    cases = [
        (end.status == Status.DIVERGED, Verdict.DIVERGED),
        (_is_reached(d, end, start, found) & (stays | _is_any(p.kind, LEFT)), p.kind),
        (critical & p.at_noise & ~(comes & calm) & ~wanders, p.kind),
        (critical & p.close & (found.grad_norm <= tol) & stays, p.kind),
        (_is_any(p.kind, LEFT) & near & (calm | on.leaves), p.kind),  # what wanders only passes it
        (
            converged
            & asks_for_gradient(d)
            & _is_below(found)
            & (~(critical & p.close) | elsewhere),
            Verdict.PLATEAU,
        ),
        (on.leaves, Verdict.DIVERGED),
        (a.closed, Verdict.OSCILLATING),
        (
            # Where not even the update moves it, a rate of 0 may hold it up on the way.
            a.stays
            & (on.moves | p.at_noise)
            & critical
            & _has_descended(start, p)
            & _is_near(a.state.loss, p),
            p.kind,
        ),
        # Steps of a bounded length do not grow, as those of Adam, but the gradient does.
        (calm & on.endless & (found.grad_norm > start.grad_norm), Verdict.DIVERGED),
        (calm & on.lifts, Verdict.PLATEAU),
        (calm, Verdict.SLOW),
    ]
    conditions = [condition for condition, _ in cases]
    verdicts = [jnp.asarray(verdict, jnp.int32) for _, verdict in cases]
    return jnp.select(conditions, verdicts, jnp.asarray(Verdict.BOUNDED, jnp.int32))


def _is_calm(ahead: Ahead, seen: Trend) -> jax.Array:
    """Return whether a run descends or rests, as far as one looks."""
    return seen.falls | ahead.resting | ahead.falls


def _is_reached(d: Descent, end: End, start: Start, found: Found) -> jax.Array:
    """Return whether the run stopped at a critical point, and not by the chance of a batch."""
    p = found.point
    close = p.close if asks_for_gradient(d) else p.close & _has_descended(start, p)
    stopped = (end.status == Status.CONVERGED) & (p.kind != NONE) & close
    return stopped & _is_below(found) if is_noisy(d.batches) else stopped


def _is_far(d: Descent, ahead: Ahead, p: Point, tol: jax.Array) -> jax.Array:
    """Return whether a run comes to rest where the curvatures of a point do not allow it."""
    _, x = surface(d, ahead.state.params)
    within = tol * x.size**0.5 / jnp.abs(p.curvature_min)
    return norm(x - p.x) > APART * within


def _is_near(loss: jax.Array, p: Point) -> jax.Array:
    """Return whether a loss is that of the critical point, and not of one farther down."""
    return jnp.abs(p.loss - loss) <= 2 * jnp.abs(p.remaining) + NOISY * p.noise.loss


def _has_descended(start: Start, p: Point) -> jax.Array:
    """Return whether hardly any of the descent remains, as no tolerance of the gradient tells."""
    return jnp.abs(p.remaining) <= REMAINING * jnp.abs(start.loss - p.loss) + p.noise.loss


def _is_below(found: Found) -> jax.Array:
    """Return whether the gradient is within the tolerance, but for how it is rounded."""
    rounding = NOISY * found.point.noise.gradient
    return found.grad_norm <= 1.01 * found.tol + rounding


def _is_any(kind: jax.Array, verdicts: tuple[Verdict, ...]) -> jax.Array:
    return jnp.any(kind == jnp.array(verdicts, kind.dtype))
