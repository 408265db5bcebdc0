"""What kind of point a run ended at: a critical one nearby, if Newton's method finds any."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.curvature.lanczos import times
from gdjax.diagnosis.probes import Probes, flat_directions, nothing_seen, probed
from gdjax.diagnosis.surface import Model, Noise, Surface, flatness, is_flat, model, noise, norm
from gdjax.diagnosis.verdict import Verdict
from gdjax.lanewise import scan
from gdjax.trees import computed_where

NONE = -1  # no critical point
MOST_STEPS = 60  # at a degenerate minimum each one leaves a fixed share of the way
FAR = 20  # steps of Newton's method from where no critical point may be near
FARTHEST = 10.0  # first steps: at a degenerate minimum of order 10 they add up to 9
ARRIVED = 0.05  # of the first step
AS_LONG = 0.5  # likewise: at a degenerate minimum, even of a high order, the last ones are shorter
SHORTER = 0.9  # of a step, what the next one may be, by the same curvatures
STIFF = 0.2  # of the largest curvature
LEFT = 1e-3  # of the gradient, where the stiff axes alone lead to a critical point
ROUNDED = 1e3  # in machine epsilons, likewise, where it is rounding
DAMPING = 1000.0  # times the gradient, above the curvature along a valley that it leaves
NOISY = 8.0  # what may be rounding, in units of the noise sampled
AWAY, FARTHER = 8.0, 4.0  # machine epsilons of where it is, and times that on the other side
SAME = 0.1  # of a curvature, what it may differ between two sides
REMAINING = 0.01  # of the descent, what may remain of it at a point that counts as critical
EVEN = 100.0  # times what remains if all curvatures are alike, or else
NEAR = 0.05  # of the way, what may remain of it there
EXACT = 0.1  # of the gradient, what the quadratic model of that point may miss, or else


class Point(NamedTuple):
    """A run's end, and the critical point nearby."""

    kind: jax.Array  # int32 [] a Verdict, NONE where there is no critical point
    x: jax.Array  # [dim] where Newton's method leads
    model: Model  # there; of many parameters, along the axis of the least curvature
    loss: jax.Array
    curvature_min: jax.Array
    curvature_max: jax.Array
    negative: jax.Array  # how many curvatures are
    flat_dimension: jax.Array
    condition: jax.Array
    remaining: jax.Array  # loss less that of the critical point, NaN where there is none
    close: jax.Array  # bool [] whether hardly any of the descent remains
    at_noise: jax.Array  # bool [] whether the gradient is rounding
    noise: Noise


class Approach(NamedTuple):
    """Where Newton's method leads from the end of a run, before flat axes there are probed."""

    x: jax.Array  # [dim]
    arrived: jax.Array  # bool [] whether it is a critical point
    largest: jax.Array  # size of the curvatures at the end
    at_end: Noise
    there: Noise


def approached(
    at: Surface, x: jax.Array, first: Model, scale: jax.Array, wanted: Any = True
) -> tuple[Approach, Model]:
    """Return where Newton's method leads from the end of a run, and the model there.

    `first` is the model at the end, `scale` a distance. Where it is not `wanted`, it leads nowhere.
    """
    found, m, shrunk = _polished(at, x, first, scale, wanted)
    largest = jnp.max(jnp.abs(first.curvatures))
    m = beside(at, m, largest)
    m = computed_where(wanted & jnp.any(m.flat), partial(_around, at), (found, m, scale), m)
    at_end, there = _each(noise(at, jnp.stack([x, found])))
    quiet = jnp.abs(m.slopes) <= NOISY * there.gradient
    arrived = shrunk | jnp.all(m.flat | quiet)
    # Where a curvature has become rounding on the way, its axis is no longer followed, but the
    # step along it may be as long as the first: that is a tail.
    slopes, curvatures = jnp.abs(m.slopes), jnp.abs(m.curvatures)
    as_long = slopes > AS_LONG * norm(first.step()) * curvatures
    tail = jnp.any(m.flat & ~quiet & as_long & (slopes <= norm(found - x) * curvatures))
    return Approach(found, wanted & arrived & ~tail, largest, at_end, there), m


def beside(at: Surface, m: Model, largest: jax.Array) -> Model:
    """Return the model with what is rounding beside the largest curvature of the end flat as well.

    Where all curvatures vanish at once, as at the minimum of x⁴, they do beside those.
    """
    return m._replace(flat=m.flat | is_flat(at, m.curvatures, largest))


def _around(at: Surface, x: jax.Array, m: Model, scale: jax.Array) -> Model:
    """Return the model with the curvatures that there are all around a point where they are 0.

    JAX's second derivative of |z|² is 0 at 0. At a degenerate minimum they differ with the
    distance, and at a kink with the side.
    """
    away = jax.random.uniform(jax.random.key(0), x.shape, x.dtype, 1, 2) * (jnp.abs(x) + scale)
    sides = jnp.array([1, -FARTHER], x.dtype) * (AWAY * at.eps)
    near, far = _each(lax.map(lambda side: model(at, x + side * away), sides))
    near = beside(at, near, jnp.max(jnp.abs(m.curvatures)))
    same = jnp.abs(near.curvatures - far.curvatures) <= SAME * jnp.abs(near.curvatures)
    fewer = jnp.sum(near.flat) < jnp.sum(m.flat)
    slopes = times(m.gradient, near.axes)
    mended = near._replace(loss=m.loss, gradient=m.gradient, slopes=slopes)
    mends = fewer & jnp.all(near.flat | same)
    return jax.tree.map(lambda a, b: jnp.where(mends, a, b), mended, m)


def _each(both: Any) -> tuple[Any, Any]:
    """Return the two that a tree holds along the leading axis of its leaves."""
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in (0, 1))
    return first, second


def is_degenerate(a: Approach, m: Model) -> jax.Array:
    """Return whether it is a critical point whose kind the curvatures do not tell."""
    return a.arrived & jnp.any(m.flat)


def probed_there(at: Surface, a: Approach, m: Model, scale: jax.Array) -> Probes:
    """Return what the loss does along the flat axes of a critical point."""
    directions = flat_directions(at, a.x, m, scale)
    left = flatness(at.eps) * jnp.max(jnp.abs(m.curvatures))
    return probed(at, a.x, m.loss, directions, a.at_end.loss, scale, left)


def kind_there(a: Approach, m: Model, probes: Probes) -> jax.Array:
    """Return the kind of point that Newton's method leads to, NONE if it is no critical one."""
    up, down = (jnp.any(~m.flat & (sign * m.curvatures > 0)) for sign in (1, -1))
    # Of a point without a gradient, a negative curvature tells more than what is far away.
    leads_down = down & (norm(m.gradient) <= NOISY * a.there.gradient)
    critical = a.arrived & (~probes.slides | leads_down)
    return jnp.where(critical, kind_of(up, down, jnp.any(m.flat), probes), NONE)


def point(
    at: Surface,
    x: jax.Array,
    first: Model,
    first_loss: jax.Array,
    scale: jax.Array,
    wanted: jax.Array,
) -> Point:
    """Look at the end of a run that began with `first_loss`; `scale` is a distance.

    `first` is the model there. Where no critical point nearby is `wanted`, there is none.
    """
    a, m = approached(at, x, first, scale, wanted)
    probes = computed_where(
        is_degenerate(a, m), partial(probed_there, at), (a, m, scale), nothing_seen()
    )
    misses = norm(m.times(x - a.x) - first.gradient)
    near = (norm(a.x - x) <= NEAR * scale) | (misses <= EXACT * norm(first.gradient))
    return described(first, first_loss, near, a, m, probes)


def described(
    first: Model,
    first_loss: jax.Array,
    near: jax.Array,
    a: Approach,
    m: Model,
    probes: Probes,
) -> Point:
    """Return what there is to say of the end of a run, if it is `near` the critical point."""
    remaining = first.loss - m.loss
    largest = jnp.max(jnp.abs(m.curvatures))
    even = jnp.where(largest > 0, norm(first.gradient) ** 2 / (2 * largest), 0)
    descended = jnp.abs(first_loss - first.loss)
    tells = near & ~jnp.any(m.flat)
    limit = jnp.maximum(REMAINING * descended, jnp.where(tells, EVEN * even, 0))
    close = jnp.abs(remaining) <= limit + a.at_end.loss
    is_here = a.arrived & close
    seen = jax.tree.map(lambda a, b: jnp.where(is_here, a, b), m, first)
    return Point(
        kind=kind_there(a, m, probes),
        x=a.x,
        model=m,
        loss=first.loss,
        curvature_min=seen.curvatures[0],
        curvature_max=seen.curvatures[-1],
        negative=jnp.sum(~seen.flat & (seen.curvatures < 0), dtype=jnp.int32),
        flat_dimension=jnp.sum(seen.flat, dtype=jnp.int32),
        condition=condition(seen),
        remaining=jnp.where(a.arrived, remaining, jnp.nan),
        close=close,
        at_noise=norm(first.gradient) <= NOISY * a.at_end.gradient,
        noise=a.at_end,
    )


def condition(m: Model) -> jax.Array:
    """Return the largest by the least size of curvatures that are not 0, NaN where all are."""
    sizes = jnp.abs(m.curvatures)
    least = jnp.min(jnp.where(m.flat, jnp.inf, sizes))
    return jnp.where(jnp.all(m.flat), jnp.nan, jnp.max(sizes) / least)


def kind_of(up: jax.Array, down: jax.Array, flat: jax.Array, probes: Probes) -> jax.Array:
    """Return the kind of a critical point that has such curvatures."""
    up, down = up | probes.rises, down | probes.falls
    bottom = jnp.where(flat & ~probes.sharply, int(Verdict.VALLEY), int(Verdict.MINIMUM))
    top = jnp.where(up, int(Verdict.SADDLE), int(Verdict.MAXIMUM))
    return jnp.where(down, top, bottom).astype(jnp.int32)


def critical_point(at: Surface, x: jax.Array, rounding: jax.Array) -> jax.Array:
    """Return a critical point that Newton's method leads to, `x` itself where to none.

    `rounding` is of the gradient.
    """

    def polish(carry: tuple, _: jax.Array) -> tuple:
        m = model(at, carry[1])
        return (carry[1], carry[1] + m.step()), norm(m.gradient)

    (found, _), lengths = scan(polish, (x, x), jnp.arange(FAR + 1))
    none = jnp.maximum(LEFT * lengths[0], NOISY * rounding)
    return jnp.where(lengths[-1] <= none, found, x)  # not where it is NaN


def _polished(
    at: Surface, start: jax.Array, first: Model, scale: jax.Array, wanted: Any
) -> tuple[jax.Array, Model, jax.Array]:
    """Return where Newton's method leads, its model there, and whether its steps shrank.

    Only that tells a critical point, even a degenerate one, from a tail along which the gradient
    vanishes for ever: there they stay as long as they are.

    Across a valley, the curvatures along it are not quite 0, and Newton's step along it means
    nothing. So where the stiff axes alone lead to a critical point, it is that one. Where neither
    they nor all axes do, as across a valley whose sides are not equally steep, the method is damped
    by the gradient that is left: that converges to points that are not isolated as quickly (Fan and
    Yuan, Computing 74, 2005). Where even that leaves more than rounding, all axes are followed once
    more from there: in a tail beside a stiff axis these steps do not shrink.
    """
    none = jnp.zeros((), bool)

    def attempt(carry: tuple, kind: tuple[jax.Array, ...]) -> tuple[tuple, None]:
        x, m, arrived = carry
        least, damping, once_more = kind
        last = (damping > 0) | once_more
        # What has arrived goes on at last from there, where more is left than rounding.
        rest = norm(m.gradient) <= ROUNDED * at.eps * norm(first.gradient)
        begin, model_there = jax.tree.map(
            lambda a, b: jnp.where(last & arrived, a, b), (x, m), (start, first)
        )
        done = (arrived & (~last | rest)) | (once_more & ~arrived) | ~jnp.asarray(wanted)
        new_x, new_m, shrunk = _newton(at, begin, model_there, least, damping, done)
        left = norm(new_m.gradient) <= LEFT * norm(first.gradient)
        found = shrunk & (left | (least + damping == 0))
        taken = jnp.where(once_more, shrunk & ~done, last | (~arrived & (found | (least == 0))))
        x, m = jax.tree.map(lambda a, b: jnp.where(taken, a, b), (new_x, new_m), (x, m))
        arrived = jnp.where(once_more, arrived & (done | shrunk), arrived | found)
        return (x, m, arrived), None

    kinds = (
        jnp.array([STIFF, 0, 0, 0], start.dtype),
        jnp.array([0, 0, DAMPING, 0], start.dtype) / scale,
        jnp.array([False, False, False, True]),
    )
    return lax.scan(attempt, (start, first, none), kinds)[0]


def _newton(
    at: Surface,
    start: jax.Array,
    first: Model,
    least: jax.Array,
    damping: jax.Array,
    done: jax.Array,
) -> tuple[jax.Array, Model, jax.Array]:
    """Follow Newton's method; `damping` is in gradients, and what is `done` is left where it is."""

    def step(m: Model, left: jax.Array) -> jax.Array:
        return m.step(least, damping * norm(left))

    reach = norm(step(first, first.gradient))

    def polish(carry: tuple) -> tuple:
        steps, travelled, x, m, _ = carry
        move = step(m, m.gradient)
        travelled += norm(move)
        new = x + move
        new_model = model(at, new)
        better = norm(new_model.gradient) < norm(m.gradient)
        # Along a bent valley the stiff axes' part may grow on the way: steps measure all alike.
        seen_from_here = m._replace(slopes=times(new_model.gradient, m.axes))
        better |= norm(step(seen_from_here, m.gradient)) < SHORTER * norm(move)
        better &= travelled <= FARTHEST * reach
        kept = jax.tree.map(lambda a, b: jnp.where(better, a, b), (new, new_model), (x, m))
        return steps + 1, travelled, *kept, ~better

    def unfinished(carry: tuple) -> jax.Array:
        return (carry[0] < MOST_STEPS) & ~carry[-1]

    carry = jnp.zeros((), jnp.int32), jnp.zeros_like(reach), start, first, done
    _, _, x, m, _ = lax.while_loop(unfinished, polish, carry)
    return x, m, norm(step(m, m.gradient)) <= ARRIVED * reach
