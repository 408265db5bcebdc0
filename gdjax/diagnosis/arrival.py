"""When a run arrives: what its optimizer does on the quadratic model of the loss.

How a gradient has decayed so far tells little where curvatures differ, as the steep axes go first.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gdjax.curvature.lanczos import times
from gdjax.descent import Descent, State
from gdjax.descent.stepping import updated
from gdjax.diagnosis.surface import Model
from gdjax.lanewise import while_loop
from gdjax.losses import value_and_ascent
from gdjax.trees import PyTree, coarsest_eps, computed_where, max_abs, real_vector

STRETCHES = 3  # of which the last two measure the decay along each axis
SHIFTS = (6, 8, 10)  # powers of two: steps of a stretch, tried until the decay is steady
STEADY = 1e-3  # of the decay, what it may change from stretch to stretch if it goes on for ever
CLEAR = 2.0  # roundings of the parameters, below which steps may come to nothing
DOUBLINGS = 40  # of the number of steps, as far as one looks
HALVINGS = 30  # of the last doubling
TO_SEEN, NO_STEPS = -1, -2  # instead of a shift
ALIKE = 2.0  # times the gradient seen, what the model's may be where it holds


class Outlook(NamedTuple):
    """From where a run is followed on a quadratic model."""

    state: State
    model: Model  # at a critical point
    centre: jax.Array  # [dim] that point
    before: jax.Array  # int32 [] steps of the run before
    seen: jax.Array  # int32 [] steps after which its gradient is known
    grad_norm: jax.Array  # [] that gradient
    wanted: jax.Array  # bool []


class _Walk(NamedTuple):
    """A run on the model."""

    state: State
    steps: jax.Array  # int32 []
    foretold: jax.Array  # [] gradient after as many steps as the run went on
    energies: jax.Array  # [STRETCHES, dim] sums of squares of the slopes over each
    moments: jax.Array  # [n] second moments of the gradient before the last two, if there are any
    stretch: jax.Array  # [] steps of each
    steady: jax.Array  # bool [] whether each slope decays as it will to the end


class _Followed(NamedTuple):
    """A run followed on the model of an outlook."""

    outlook: Outlook
    walk: _Walk
    holds: jax.Array  # bool [] whether it is wanted, and the model foretells what was seen


def arrival(d: Descent, outlooks: list[Outlook], tol: jax.Array) -> jax.Array:
    """Return after how many steps the tolerance holds, by a model that foretells what was seen.

    It is that of the first outlook that does, and inf where at a minimum it never holds, as where
    steps become rounding before; NaN where none does or is wanted.

    Args:
      d: a plain descent.
      outlooks: on models of its loss.
      tol: of the largest absolute entry of the gradient.
    """

    # All are followed to where the gradient is known, and the first that foretells it to the end.
    def follow(so_far: _Followed, phase: tuple[Outlook, jax.Array]) -> tuple[_Followed, None]:
        outlook, shift = phase
        further = shift >= 0
        none = jnp.zeros((), bool)
        new = _Followed(outlook, _begun(outlook, tol), none)
        begin = jax.tree.map(lambda a, b: jnp.where(further, a, b), so_far, new)
        outlook, walk = begin.outlook, begin.walk
        wanted = jnp.where(further, so_far.holds, outlook.wanted & ~so_far.holds)
        walk = _walked(d, outlook, walk, jnp.where(wanted & ~walk.steady, shift, NO_STEPS), tol)
        holds = wanted & (further | are_alike(walk.foretold, outlook.grad_norm))
        followed = _Followed(outlook, walk, holds)
        return jax.tree.map(lambda a, b: jnp.where(holds, a, b), followed, so_far), None

    # What counts its steps may change with their number.
    leaves = jax.tree.leaves(outlooks[0].state.opt_state)
    counts = any(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in leaves)
    shifts = SHIFTS[-1:] if counts else SHIFTS
    phases = [*outlooks, *outlooks[-1:] * len(shifts)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *phases)
    shapes = jax.eval_shape(lambda: (outlooks[0], _begun(outlooks[0], tol)))
    outlook, walk = jax.tree.map(lambda leaf: lax.full(leaf.shape, 0, leaf.dtype), shapes)
    so_far = _Followed(outlook, walk, jnp.zeros((), bool))
    in_turn = jnp.array([*[TO_SEEN] * len(outlooks), *shifts], jnp.int32)
    outlook, walk, holds = lax.scan(follow, so_far, (stacked, in_turn))[0]
    m = outlook.model
    arrived = max_abs(walk.state.grad) <= tol
    moments = second_moments(walk.state.opt_state)
    faded = jnp.min(jnp.where(moments > 0, walk.moments / moments, jnp.inf), initial=jnp.inf)
    growth = jnp.where(jnp.isfinite(faded), jnp.log(jnp.maximum(faded, 1)), 0) / (4 * walk.stretch)
    slopes = _curvatures(m) * _along(outlook, walk.state.params)
    later = computed_where(
        holds & ~arrived,
        partial(_later, m),
        (slopes, walk.energies[1:], walk.stretch, growth, tol),
        jnp.zeros_like(tol),
    )
    found = outlook.before + walk.steps + later
    found = jnp.where(is_bottom(m) | jnp.isfinite(found), found, jnp.nan)
    return jnp.where(holds, found, jnp.nan)


def _begun(outlook: Outlook, tol: jax.Array) -> _Walk:
    """Return a run on the model before its first step."""
    state, none = outlook.state, jnp.zeros((), jnp.int32)
    loss, grad = value_and_ascent(partial(_quadratic, outlook), state.params, ())
    curvatures = outlook.model.curvatures
    return _Walk(
        state._replace(loss=loss, grad=grad, step=none),
        none,
        max_abs(grad).astype(tol.dtype),
        jnp.zeros((STRETCHES, curvatures.size), curvatures.dtype),
        second_moments(state.opt_state),
        jnp.ones_like(tol),
        jnp.zeros((), bool),
    )


def _walked(d: Descent, outlook: Outlook, begin: _Walk, shift: jax.Array, tol: jax.Array) -> _Walk:
    """Return a run on the model after three stretches more, earlier if it arrives.

    With `TO_SEEN` it is followed to where the gradient is known, with `NO_STEPS` not at all.
    """
    on_model = replace(d, loss=partial(_quadratic, outlook), args=(), batches=None)
    measures = shift >= 0
    bits = jnp.maximum(shift, 0)
    # The longest ones do not begin while what an optimizer remembers is that of the run before.
    origin = jnp.maximum(begin.steps, jnp.where(shift == SHIFTS[-1], 1 << SHIFTS[-1], 0))
    most = jnp.where(shift == TO_SEEN, outlook.seen, 0)

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

    ends = jnp.where(measures, origin + (jnp.arange(1 + STRETCHES) << bits), most)
    w, (energies, moments) = lax.scan(leg, begin, ends)
    last = max_abs(w.state.grad).astype(tol.dtype)
    w = w._replace(
        foretold=jnp.where(~measures & (w.steps == outlook.seen), last, w.foretold),
        energies=jnp.where(measures, energies[1:], begin.energies),
        moments=jnp.where(measures, moments[1], begin.moments),
        stretch=jnp.where(measures, 2.0**bits, begin.stretch).astype(tol.dtype),
    )
    steady = begin.steady | (measures & _is_steady(outlook, w, tol))
    return w._replace(steady=steady)


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


def second_moments(opt_state: Any) -> jax.Array:
    """Return those of Adam and its like: steps grow as the root of these fades."""
    found = optax.tree.get_all_with_path(opt_state, "nu_max")  # of AMSGrad, which fade never
    found = found or optax.tree.get_all_with_path(opt_state, "nu")
    leaves = jax.tree.leaves([nu for _, nu in found])
    return jnp.concatenate([jnp.zeros(0), *(jnp.ravel(leaf) for leaf in leaves)])


def _later(
    m: Model,
    slopes: jax.Array,
    energies: jax.Array,
    stretch: jax.Array,
    growth: jax.Array,
    tol: jax.Array,
) -> jax.Array:
    """Return how many more steps it takes if each slope goes on to decay so; inf where for ever.

    `energies` are those of two stretches of so many steps. The rate of the decay grows
    exponentially, with the exponent `growth` per step.
    """
    # What is rounding may grow; what is more than that and grows never holds either way.
    logs = jnp.log(energies[1] / energies[0])
    decay = jnp.where(energies[1] > 0, jnp.minimum(logs, 0), 0) / (2 * stretch)

    def is_large(steps: jax.Array) -> jax.Array:
        longer = jnp.where(growth > 0, jnp.expm1(growth * steps) / growth, steps)
        shrunk = jnp.where(decay < 0, jnp.exp(decay * longer), 1)
        left = jnp.where(energies[1] > 0, slopes * shrunk, 0)
        return ~(jnp.max(jnp.abs(times(m.axes, left))) <= tol)

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
