"""When a run arrives: what its optimizer does on the quadratic model of the loss.

How a gradient has decayed so far tells little where curvatures differ, as the steep axes go first.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.curvature.lanczos import times
from gdjax.descent import Descent, State
from gdjax.descent.stepping import updated
from gdjax.diagnosis.fields import counts, second_moments
from gdjax.diagnosis.pace import as_they_grow, pace_of
from gdjax.diagnosis.surface import Model, largest_entry
from gdjax.lanewise import while_loop
from gdjax.losses import value_and_ascent
from gdjax.trees import PyTree, coarsest_eps, computed_where, max_abs, real_vector

STRETCHES = 3  # of which the last two measure the decay along each axis
SHIFTS = (6, 8, 10)  # powers of two: steps of a stretch, tried until the decay is steady
STEADY = 1e-3  # of the decay, what it may change from stretch to stretch if it goes on for ever
CLEAR = 2.0  # roundings of the parameters, below which steps may come to nothing
DOUBLINGS = 40  # of the number of steps, as far as one looks
HALVINGS = 30  # of the last doubling
ALIKE = 2.0  # times the gradient, what the model's may be where it holds
LASTING = 1.4  # logarithm of the ratio of two decays that are not by chance


class Outlook(NamedTuple):
    """From where a run is followed on a quadratic model."""

    state: State
    model: Model  # at a critical point
    centre: jax.Array  # [dim] that point
    before: jax.Array  # int32 [] steps of the run before
    wanted: jax.Array  # bool []


class _Walk(NamedTuple):
    """A run on the model."""

    state: State
    steps: jax.Array  # int32 []
    energies: jax.Array  # [STRETCHES, dim] sums of squares of the slopes over each
    moments: jax.Array  # [n] second moments of the gradient before the last two, if there are any
    stretch: jax.Array  # [] steps of each
    steady: jax.Array  # bool [] whether each slope decays as it will to the end


def arrival(d: Descent, outlook: Outlook, tol: jax.Array) -> jax.Array:
    """Return after how many steps the tolerance holds, by the model.

    It is inf where at a minimum it never holds, as where steps become rounding before; NaN where
    none is wanted.

    Args:
      d: a plain descent.
      outlook: on a model of its loss.
      tol: of the largest absolute entry of the gradient.
    """

    def further(walk: _Walk, shift: jax.Array) -> tuple[_Walk, None]:
        return _walked(d, outlook, walk, shift, outlook.wanted & ~walk.steady, tol), None

    # What counts its steps may change with their number.
    leaves = jax.tree.leaves(outlook.state.opt_state)
    may_change = any(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in leaves)
    shifts = jnp.array(SHIFTS[-1:] if may_change else SHIFTS, jnp.int32)
    walk, _ = lax.scan(further, _begun(outlook, tol), shifts)
    m = outlook.model
    arrived = max_abs(walk.state.grad) <= tol
    moments = second_moments(walk.state.opt_state)
    faded = jnp.min(jnp.where(moments > 0, walk.moments / moments, jnp.inf), initial=jnp.inf)
    growth = jnp.where(jnp.isfinite(faded), jnp.log(jnp.maximum(faded, 1)), 0) / (4 * walk.stretch)
    slopes = _curvatures(m) * _along(outlook, walk.state.params)
    later = computed_where(
        outlook.wanted & ~arrived,
        partial(_later, _on_model(d, outlook), m),
        (walk.state, slopes, walk.energies, walk.stretch, growth, tol),
        jnp.zeros_like(tol),
    )
    found = outlook.before + walk.steps + later
    found = jnp.where(is_bottom(m) | jnp.isfinite(found), found, jnp.nan)
    return jnp.where(outlook.wanted, found, jnp.nan)


def _begun(outlook: Outlook, tol: jax.Array) -> _Walk:
    """Return a run on the model before its first step."""
    state, none = outlook.state, jnp.zeros((), jnp.int32)
    loss, grad = value_and_ascent(partial(_quadratic, outlook), state.params, ())
    curvatures = outlook.model.curvatures
    return _Walk(
        state._replace(loss=loss, grad=grad, step=none),
        none,
        jnp.zeros((STRETCHES, curvatures.size), curvatures.dtype),
        second_moments(state.opt_state),
        jnp.ones_like(tol),
        jnp.zeros((), bool),
    )


def _walked(
    d: Descent,
    outlook: Outlook,
    begin: _Walk,
    shift: jax.Array,
    wanted: jax.Array,
    tol: jax.Array,
) -> _Walk:
    """Return a run on the model after three stretches more if they are wanted, or as it arrives."""
    on_model = _on_model(d, outlook)
    # The longest ones do not begin while what an optimizer remembers is that of the run before.
    origin = jnp.maximum(begin.steps, jnp.where(shift == SHIFTS[-1], 1 << SHIFTS[-1], 0))

    def step(carry: tuple[State, jax.Array, jax.Array]) -> tuple[State, jax.Array, jax.Array]:
        state, steps, energy = carry
        after = updated(on_model, state)
        slopes = _curvatures(outlook.model) * _along(outlook, after.params)
        return after, steps + 1, energy + slopes**2

    def leg(w: _Walk, end: jax.Array) -> tuple[_Walk, tuple[jax.Array, jax.Array]]:
        def goes_on(carry: tuple[State, jax.Array, jax.Array]) -> jax.Array:
            return (carry[1] < end) & ~(max_abs(carry[0].grad) <= tol)

        nothing = jnp.zeros_like(outlook.model.curvatures)
        state, steps, energy = while_loop(goes_on, step, (w.state, w.steps, nothing))
        return w._replace(state=state, steps=steps), (energy, second_moments(state.opt_state))

    ends = jnp.where(wanted, origin + (jnp.arange(1 + STRETCHES) << shift), 0)
    w, (energies, moments) = lax.scan(leg, begin, ends)
    w = w._replace(
        energies=jnp.where(wanted, energies[1:], begin.energies),
        moments=jnp.where(wanted, moments[1], begin.moments),
        stretch=jnp.where(wanted, 2.0**shift, begin.stretch).astype(tol.dtype),
    )
    return w._replace(steady=begin.steady | (wanted & _is_steady(outlook, w, tol)))


def _is_steady(outlook: Outlook, w: _Walk, tol: jax.Array) -> jax.Array:
    """Return whether each slope above the tolerance decays by the same share in each stretch.

    And, since it will not be rounding that ends it then, whether steps will still be more than that
    at the tolerance.
    """
    decays = jnp.diff(jnp.log(w.energies), axis=0)
    curvatures = _curvatures(outlook.model)
    settled = w.energies[-1] <= w.stretch * (tol / curvatures.size) ** 2
    alike = jnp.abs(decays[1] - decays[0]) <= STEADY * jnp.abs(decays[1])
    last = jnp.abs(decays[1]) / (2 * w.stretch) * tol / jnp.abs(curvatures)
    moves = last > CLEAR * coarsest_eps(w.state.params) * max_abs(w.state.params)
    return jnp.all(settled | (alike & moves))


def _on_model(d: Descent, outlook: Outlook) -> Descent:
    """Return the plain descent with the model's loss."""
    return replace(d, loss=partial(_quadratic, outlook), args=(), batches=None)


def _quadratic(outlook: Outlook, params: PyTree) -> jax.Array:
    """Return the model's loss, but for a constant."""
    return jnp.sum(_curvatures(outlook.model) * _along(outlook, params) ** 2) / 2


def _curvatures(m: Model) -> jax.Array:
    return jnp.where(m.flat, 0, m.curvatures)


def _along(outlook: Outlook, params: PyTree) -> jax.Array:
    """Return how far parameters are from the critical point along each axis."""
    m = outlook.model
    return times(real_vector(params)[0].astype(m.curvatures.dtype) - outlook.centre, m.axes)


def are_alike(one: jax.Array, other: jax.Array) -> jax.Array:
    """Return whether a model's gradient is about that seen."""
    return (one <= ALIKE * other) & (other <= ALIKE * one)


def is_bottom(m: Model) -> jax.Array:
    """Return whether all curvatures of a model are positive."""
    return (m.curvatures[0] > 0) & ~jnp.any(m.flat)


def _later(
    d: Descent,
    m: Model,
    state: State,
    slopes: jax.Array,
    energies: jax.Array,
    stretch: jax.Array,
    growth: jax.Array,
    tol: jax.Array,
) -> jax.Array:
    """Return how many more steps it takes if each slope goes on to decay so; inf where for ever.

    `energies` are those of three stretches of so many steps. The rate of the decay grows
    exponentially, with the exponent `growth` per step, and as the schedule has it of a descent on
    the model that has come to `state`.
    """
    last = energies[-1]
    before, now = -jnp.diff(jnp.log(energies), axis=0)
    # What is rounding may grow; what is more than that and grows never holds either way.
    lasts = (before > 0) & (now > 0) & (jnp.abs(jnp.log(now / before)) <= LASTING)
    decay = jnp.where((last > 0) & lasts, -now, 0) / (2 * stretch)
    length_of = partial(as_they_grow, growth=growth)
    if counts(state.opt_state):
        length_of = pace_of(d, state, stretch, growth).of

    def is_large(steps: jax.Array) -> jax.Array:
        longer = length_of(steps)
        shrunk = jnp.where(decay < 0, jnp.exp(decay * longer), 1)
        left = jnp.where(last > 0, slopes * shrunk, 0)
        return ~(largest_entry(state.params, times(m.axes, left)) <= tol)

    def double(_: int, steps: jax.Array) -> jax.Array:
        return jnp.where(is_large(steps), 2 * steps, steps)

    def halve(_: int, bracket: tuple) -> tuple:
        low, high = bracket
        middle = (low + high) / 2
        large = is_large(middle)
        return jnp.where(large, middle, low), jnp.where(large, high, middle)

    high: Any = lax.fori_loop(0, DOUBLINGS, double, jnp.ones_like(tol))
    _, found = lax.fori_loop(0, HALVINGS, halve, (high / 2, high))
    return jnp.where(is_large(high), jnp.inf, jnp.ceil(found))
