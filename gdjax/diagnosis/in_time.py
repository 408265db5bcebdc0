"""When a run that descends arrives: it is followed for a while, and then foretold."""

from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Descent, State
from gdjax.descent.stepping import updated
from gdjax.diagnosis.ahead import MOST_WINDOWS, Ahead
from gdjax.diagnosis.arrival import Outlook, are_alike, arrival, is_bottom
from gdjax.diagnosis.fields import counts, second_moments
from gdjax.diagnosis.orbit import WINDOW
from gdjax.diagnosis.pace import pace_of
from gdjax.diagnosis.point import NOISY, NONE, Point
from gdjax.diagnosis.surface import Surface, gradient_and_product, is_large, model, norm
from gdjax.diagnosis.trend import extrapolated
from gdjax.lanewise import while_loop
from gdjax.trees import PyTree, computed_where, max_abs, real_vector

LEGS = 8  # after each of which the gradient is kept
CRITICAL = 1e-3  # of the gradient, what is left of it at a critical point
FADED = 1e-6  # of the curvature, what is left of it where it vanishes


class Followed(NamedTuple):
    """A run that went on as it is."""

    state: State
    steps: jax.Array  # int32 []
    leg: jax.Array  # int32 [] steps of each leg
    grad_norms: jax.Array  # [LEGS] largest absolute entry of the gradient after each leg
    before: PyTree  # parameters a leg ago


def followed(
    d: Descent, ahead: Ahead, wanted: jax.Array, steps: jax.Array, tol: jax.Array
) -> Followed:
    """Return where a plain descent is when the tolerance holds, or after as long as one looks.

    It goes on from what is seen ahead, not at all unless it is `wanted`, and in many parameters,
    whose steps are dear, no further than the `steps` that it had made.
    """
    before, most = ahead.windows * WINDOW, MOST_WINDOWS * WINDOW
    furthest = jnp.clip(steps, before, most) if is_large(d) else most
    length = (furthest - before) // LEGS

    def step(carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        return updated(d, carry[0]), carry[1] + 1

    def leg(carry: tuple, end: jax.Array) -> tuple[tuple, jax.Array]:
        def goes_on(carry: tuple[State, jax.Array]) -> jax.Array:
            return (carry[1] < end) & ~(max_abs(carry[0].grad) <= tol)

        begin = carry[0].params
        state, steps = while_loop(goes_on, step, carry[:2])
        return (state, steps, begin), max_abs(state.grad).astype(tol.dtype)

    ends = jnp.where(wanted, before + length * jnp.arange(1, 1 + LEGS), 0)
    start = ahead.state, before, ahead.state.params
    (last, made, begin), grad_norms = lax.scan(leg, start, ends)
    return Followed(last, made, length, grad_norms, begin)


def steps_in_time(
    d: Descent,
    at: Surface,
    ahead: Ahead,
    asked: jax.Array,
    later: Followed,
    later_point: jax.Array | None,
    p: Point,
    steps: jax.Array,
    tol: jax.Array,
) -> jax.Array:
    """Return after how many steps the tolerance of a calm run holds; NaN if that cannot be told.

    Where it is not seen, a model foretells it, at a critical point near where the run is
    later on. Else a run on its way to such a point gets there at the speed it has, as that of Adam
    is the same for long; and else its gradient decays as it did.

    Args:
      d: the plain descent.
      at: its loss.
      ahead: what it does after its end.
      asked: bool [] whether it is asked for.
      later: the run further on.
      later_point: a point near there, None in so many parameters that none is looked for.
      p: the point near its end.
      steps: that it had made then.
      tol: of the largest absolute entry of the gradient.
    """
    comes = max_abs(later.state.grad) <= tol
    outlook, converges = _outlook(at, later, p, later_point, asked & ~comes)
    found = [arrival(d, outlook, tol), _by_decay(later, ahead, steps, tol)]
    if later_point is not None:
        wanted = converges & asked & ~comes
        given, unknown = (later, outlook.centre), jnp.full_like(tol, jnp.nan)
        found.insert(1, computed_where(wanted, partial(_at_speed, d), given, unknown))
    return jnp.where(comes, later.steps, reduce(lambda a, b: jnp.where(jnp.isnan(a), b, a), found))


def _at_speed(d: Descent, later: Followed, centre: jax.Array) -> jax.Array:
    """Return when a run is at a point if it keeps its speed, but for its schedule."""
    x, before = (real_vector(params)[0] for params in (later.state.params, later.before))
    speed = norm(x - before).astype(centre.dtype) / later.leg
    left = norm(x.astype(centre.dtype) - centre) / speed
    if counts(later.state.opt_state):
        leg = later.leg.astype(centre.dtype)
        left = pace_of(d, later.state, leg / 2, jnp.zeros_like(leg)).until(left)
    return (later.steps + left).astype(later.grad_norms.dtype)


def _by_decay(later: Followed, ahead: Ahead, steps: jax.Array, tol: jax.Array) -> jax.Array:
    """Return when a run of so many steps arrives if its gradient goes on to decay so."""
    last = ahead.seen.grad_norm[jnp.maximum(ahead.windows - 1, 0)]
    grad_norms = jnp.concatenate([last[None], later.grad_norms])
    before, legs = ahead.windows * WINDOW, jnp.asarray(LEGS)
    return before + extrapolated(grad_norms, legs, later.leg, steps + before, tol)


def _outlook(
    at: Surface, later: Followed, p: Point, later_point: jax.Array | None, wanted: jax.Array
) -> tuple[Outlook, jax.Array]:
    """Return the model on which a run is followed further, and whether it is of its minimum."""
    last = max_abs(later.state.grad).astype(p.loss.dtype)
    own, unravel = real_vector(later.state.params)
    x = own.astype(p.x.dtype)
    if later_point is None:
        m, centre, critical = p.model, p.x, p.kind != NONE
        slowest = m.axes[:, 0]
    else:
        m, centre = model(at, later_point), later_point
        slowest = m.axes[:, 0]
        # Along a tail, and towards a degenerate minimum, the curvature vanishes with the gradient.
        _, product = gradient_and_product(at, x, slowest)
        kept = m.curvatures[0] >= FADED * jnp.abs(jnp.sum(slowest * product))
        none = jnp.maximum(CRITICAL * last, NOISY * p.noise.gradient)
        critical = kept & (norm(m.gradient) <= none)
    # Where the way there is bent, what is left of it in the end is along the slowest axis.
    bent = centre + slowest * last / jnp.max(jnp.abs(m.times(slowest)))
    straight = are_alike(jnp.max(jnp.abs(m.times(x - centre))), last)
    converges = is_bottom(m) & critical
    holds = converges
    if second_moments(later.state.opt_state).size:  # each entry has a rate of its own
        holds &= straight
    begin = later.state._replace(params=unravel(jnp.where(straight, x, bent).astype(own.dtype)))
    return Outlook(begin, m, centre, later.steps, wanted & holds), converges
