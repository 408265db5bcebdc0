"""The descents of edge tracking: those of both sides along the border, and those that decide."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.basins.bracket import Task, Turn, eps_of, vectors_of, width_of
from gdjax.basins.stationary import Stationary, stationary_near
from gdjax.descent import Descent, State, Status
from gdjax.descent.reopening import reopened
from gdjax.descent.running import execute
from gdjax.descent.stepping import next_state
from gdjax.diagnosis.surface import surface
from gdjax.trees import real_vector, strongly_typed

WIDE = 0.375  # power of the machine epsilon: how far apart the sides descend, in scales
FARTHEST = 0.05  # of the scale, that Newton's method may move
CUTS = (0.5, 0.382, 0.618)  # of the segment, one after the other where an end is undecided


def end_near(
    d: Descent, x: jax.Array, scale: jax.Array, curvature: jax.Array | float
) -> Stationary:
    """Return the critical point near the end of a descent."""
    at, _ = surface(d, d.params)
    return stationary_near(at, x, FARTHEST * scale, scale, curvature)


def descent(d: Descent, turn: Turn) -> tuple[State, Stationary]:
    """Return the state that the task begins with, and where it ends."""
    state, scale = _first_of(d, turn), turn.found.scale
    is_polish = turn.task == Task.POLISH
    budget = jnp.where(is_polish, 0, jnp.asarray(d.max_steps, jnp.int32))
    bounded = replace(d, max_steps=budget)
    begun = reopened(bounded, state)
    end = execute(bounded, begun)
    stiffest = jnp.where(is_polish, jnp.max(jnp.abs(turn.ends.curvatures)), 0)
    found = end_near(d, surface(d, end.params)[1], scale, stiffest)
    found = found._replace(arrived=found.arrived & (end.status != Status.DIVERGED))
    return state._replace(loss=begun.loss, grad=begun.grad), found


def _first_of(d: Descent, turn: Turn) -> State:
    one, other = (jax.tree.map(lambda leaf, i=i: leaf[i], turn.sides) for i in (0, 1))
    own, unravel = real_vector(d.params)
    middle = jnp.mean(vectors_of(d, turn.sides), axis=0)
    border = jnp.where(turn.undecided.arrived, turn.undecided.vector, middle)
    point, push = turn.found.point, jnp.where(turn.task == Task.FALL, turn.push, -turn.push)
    there = jnp.where(turn.task == Task.POLISH, border, point.vector + push * point.axis)
    params = unravel(there.astype(own.dtype))
    fresh = one._replace(
        params=params,
        opt_state=strongly_typed(d.optimizer.init(params)),
        step=jnp.zeros((), jnp.int32),
    )
    cases = one, other, _between(turn.sides, jnp.array(CUTS)[turn.misses]), fresh
    which = jnp.minimum(turn.task, Task.POLISH)
    return jax.tree.map(lambda *leaves: lax.select_n(which, *leaves), *cases)


def _between(sides: State, share: jax.Array) -> State:
    """Return the state at a share of the segment, in parameters and in what is remembered."""

    def cut(both: jax.Array) -> jax.Array:
        if not jnp.issubdtype(both.dtype, jnp.inexact):
            return both[0]
        return both[0] + share.astype(both.real.dtype) * (both[1] - both[0])

    return jax.tree.map(cut, sides)


def descended(d: Descent, endless: Descent, turn: Turn) -> State:
    """Let both sides descend, as a round begins, until they are wide apart or out of budget."""
    begins = (turn.task == Task.HALVE) & (turn.halvings == 0) & (turn.found.rounds > 0)
    wide = eps_of(d) ** WIDE * turn.found.scale

    def close(carry: tuple[jax.Array, State]) -> jax.Array:
        steps, sides = carry
        return begins & (steps < d.max_steps) & (width_of(d, sides) < wide)

    def step(carry: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        steps, sides = carry
        return steps + 1, jax.vmap(lambda state: next_state(endless, state))(sides)

    return lax.while_loop(close, step, (jnp.zeros((), jnp.int32), turn.sides))[1]
