"""When a run arrives: what its optimizer does on the quadratic model of the loss.

How a gradient has decayed so far tells little where curvatures differ, as the steep axes go first.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gdjax.curvature.lanczos import times
from gdjax.descent import Descent, State
from gdjax.descent.stepping import updated
from gdjax.diagnosis.ahead import MOST_WINDOWS, WINDOW
from gdjax.diagnosis.surface import Model
from gdjax.losses import value_and_ascent
from gdjax.trees import PyTree, max_abs, real_vector

MOST = MOST_WINDOWS * WINDOW  # steps on the model, as many as a run goes on at most
STRETCH = MOST // 4  # of the last ones: over two of them the decay along each axis is measured
DOUBLINGS = 40  # of the number of steps, as far as one looks
HALVINGS = 30  # of the last doubling
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
    energies: jax.Array  # [2, dim] sums of squares of the slopes over the last two stretches
    moments: jax.Array  # [n] second moments of the gradient before these, where there are any


def arrival(d: Descent, outlooks: list[Outlook], tol: jax.Array) -> jax.Array:
    """Return after how many steps the tolerance holds, by a model that foretells what was seen.

    It is that of the first outlook that does, and inf where at a minimum it never holds, as where
    steps become rounding before; NaN where none does or is wanted.

    Args:
      d: a plain descent.
      outlooks: on models of its loss.
      tol: of the largest absolute entry of the gradient.
    """

    def look(found: jax.Array, outlook: Outlook) -> tuple[jax.Array, None]:
        wanted = outlook.wanted & jnp.isnan(found)
        later = _arrival(d, outlook._replace(wanted=wanted), tol)
        return jnp.where(jnp.isnan(found), later, found), None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *outlooks)
    return lax.scan(look, jnp.full_like(tol, jnp.nan), stacked)[0]


def _arrival(d: Descent, outlook: Outlook, tol: jax.Array) -> jax.Array:
    m, state, seen, wanted = outlook.model, outlook.state, outlook.seen, outlook.wanted
    curvatures = jnp.where(m.flat, 0, m.curvatures)

    def along(params: PyTree) -> jax.Array:
        return times(real_vector(params)[0].astype(curvatures.dtype) - outlook.centre, m.axes)

    def quadratic(params: PyTree) -> jax.Array:
        return jnp.sum(curvatures * along(params) ** 2) / 2

    on_model = replace(d, loss=quadratic, args=(), batches=None)
    loss, grad = value_and_ascent(quadratic, state.params, ())

    def step(w: _Walk) -> _Walk:
        after = updated(on_model, w.state)
        number = w.steps + 1
        slopes = curvatures * along(after.params)
        stretch = (number - 1) // STRETCH - 2
        here = jnp.arange(2)[:, None] == stretch
        begins = number == MOST - 2 * STRETCH
        return _Walk(
            after,
            number,
            jnp.where(number == seen, max_abs(after.grad).astype(tol.dtype), w.foretold),
            w.energies + jnp.where(here, slopes**2, 0),
            jnp.where(begins, second_moments(after.opt_state), w.moments),
        )

    def goes_on(w: _Walk) -> jax.Array:
        return wanted & (w.steps < MOST) & ~(max_abs(w.state.grad) <= tol)

    none = jnp.zeros((), jnp.int32)
    first = _Walk(
        state._replace(loss=loss, grad=grad, step=none),
        none,
        max_abs(grad).astype(tol.dtype),
        jnp.zeros((2, curvatures.size), curvatures.dtype),
        second_moments(state.opt_state),
    )
    walk = lax.while_loop(goes_on, step, first)
    holds = are_alike(walk.foretold, outlook.grad_norm)
    arrived = max_abs(walk.state.grad) <= tol
    moments = second_moments(walk.state.opt_state)
    faded = jnp.min(jnp.where(moments > 0, walk.moments / moments, jnp.inf), initial=jnp.inf)
    growth = jnp.where(jnp.isfinite(faded), jnp.log(jnp.maximum(faded, 1)), 0) / (4 * STRETCH)
    later = _later(m, curvatures * along(walk.state.params), walk.energies, growth, tol)
    found = outlook.before + walk.steps + jnp.where(arrived, 0, later)
    found = jnp.where(is_bottom(m) | jnp.isfinite(found), found, jnp.nan)
    return jnp.where(wanted & holds, found, jnp.nan)


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
    m: Model, slopes: jax.Array, energies: jax.Array, growth: jax.Array, tol: jax.Array
) -> jax.Array:
    """Return how many more steps it takes if each slope goes on to decay so; inf where for ever.

    The rate of the decay grows exponentially, with the exponent `growth` per step.
    """
    # What is rounding may grow; what is more than that and grows never holds either way.
    logs = jnp.log(energies[1] / energies[0])
    decay = jnp.where(energies[1] > 0, jnp.minimum(logs, 0), 0) / (2 * STRETCH)

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
