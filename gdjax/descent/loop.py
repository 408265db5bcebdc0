"""The loop of a run: plain updates, and a second run up to the step before one that is not finite.

To select every leaf, so that such an update can be taken back, costs more than many an update. So
the loop ends where a number is not finite, and is run once more from the same start, one step
less. That is a loop around the first one, so that the update is compiled once.
"""

from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent.description import INT32_MAX, Descent
from gdjax.descent.state import State, Status
from gdjax.descent.stepping import (
    condition,
    ending_where,
    first_state,
    next_state,
    updated,
)
from gdjax.trees import FEW, all_finite, alone_or_in_lanes, few_and_many, size, squares

NO_STEP = -1  # is after it


def advanced(d: Descent, state: State | None, steps: int | jax.Array) -> State:
    """Return the state at most `steps` steps later, fewer where the run finishes before.

    Without a state the run begins at its start.
    """

    def begin() -> State:
        return first_state(d) if state is None else state

    # A known length: reverse mode can go through. For one step, a repetition would not pay.
    if isinstance(steps, int) and (d.stop is None or steps <= 1):
        return lax.fori_loop(0, steps, lambda _, state: next_state(d, state), begin())

    def attempt(carry: tuple[jax.Array, jax.Array, State]) -> tuple[jax.Array, jax.Array, State]:
        _, last, _ = carry
        first = begin()  # here, since XLA keeps and copies what comes from outside
        again = last < INT32_MAX
        last = jnp.minimum(last, first.step + jnp.minimum(steps, first.limit - first.step))
        finite, stopped, end = _moved(d, first, last, thorough=again)
        running = first.status == Status.RUNNING
        status = jnp.where(again, Status.DIVERGED, ending_where(stopped, end)).astype(jnp.int8)
        end = end._replace(status=jnp.where(running, status, first.status))
        bad = running & ~(finite & _all_finite(few_and_many(end.params)[1]))
        # Lanes of a `vmap` that wait for others take no step: they have none left.
        return bad, jnp.where(bad, end.step - 1, 0), end

    shapes = jax.eval_shape(begin)
    unknown = jax.tree.map(lambda leaf: lax.full(leaf.shape, 0, leaf.dtype), shapes)
    first_attempt = jnp.ones((), bool), jnp.full((), INT32_MAX, jnp.int32), unknown
    return lax.while_loop(lambda carry: carry[0], attempt, first_attempt)[2]


def _moved(
    d: Descent, state: State, last: jax.Array, thorough: jax.Array
) -> tuple[jax.Array, jax.Array, State]:
    """Return whether all was finite, whether the condition holds, and the state where this ended.

    Large parameters are looked at in a `thorough` run only: once not finite, they stay so.
    """
    few = size(d.params) <= FEW

    def stops(state: State, known: jax.Array) -> jax.Array:
        # XLA keeps few numbers in registers only if it is the loop's condition that looks at them.
        return alone_or_in_lanes(_holds(d, state), known) if few else known

    def moves(carry: tuple[jax.Array, jax.Array, State]) -> jax.Array:
        last, stopped, state = carry
        return (state.step < last) & ~stops(state, stopped)

    def moved(carry: tuple[jax.Array, jax.Array, State]) -> tuple[jax.Array, jax.Array, State]:
        state = updated(d, carry[2])
        # In one number, as each that is carried costs time.
        return jnp.where(_finite(state, thorough), last, NO_STEP), _holds(d, state), state

    running = state.status == Status.RUNNING
    start = jnp.where(running, last, NO_STEP), jnp.zeros((), bool), state
    reached, stopped, state = lax.while_loop(moves, moved, start)
    return reached == last, stops(state, stopped) | (state.step < last), state


def _holds(d: Descent, state: State) -> jax.Array:
    stop, memory = condition(d), state.stop_memory
    if size(d.params) <= FEW:
        return stop.holds(memory, state)
    return alone_or_in_lanes(stop.holds_alone(memory, state), stop.holds(memory, state))


def _finite(state: State, thorough: jax.Array) -> jax.Array:
    few, many = few_and_many((state.loss, state.grad))
    few_params, many_params = few_and_many(state.params)
    # Alone, a test for each is quicker than the sum of `all_finite`.
    finite = reduce(jnp.logical_and, (jnp.all(jnp.isfinite(leaf)) for leaf in few + few_params))
    if many:
        finite &= _all_finite(many)
    if many_params:
        finite &= lax.cond(thorough, lambda: _all_finite(many_params), lambda: jnp.ones((), bool))
    return finite


def _all_finite(many: list[jax.Array]) -> jax.Array:
    # A sum of squares is quicker, and finite only if they are; that it overflows is rare.
    sure = jnp.isfinite(squares(many))
    quick = lax.cond(sure, lambda: sure, lambda: all_finite(many))
    return alone_or_in_lanes(quick, all_finite(many))
