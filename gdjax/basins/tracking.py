"""Edge tracking: along the border of two basins down to the saddle on it.

Skufca, Yorke and Eckhardt, Edge of chaos in a parallel shear flow, Physical Review Letters 96,
2006. Two states of different fate are brought close by bisection; they then descend until they
are some way apart, and are bisected again. So they follow the border, which attracts along itself
and repels across, and Newton's method finds the saddle once it is near.

All of it is one loop with one descent in each turn. So that is compiled once, and lanes of a
`vmap` wait for each other's descents only, whatever they are for.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.basins.bracket import (
    Task,
    Tracked,
    Turn,
    are_same,
    eps_of,
    named,
    narrow,
    same,
    vectors_of,
    width_of,
)
from gdjax.basins.descents import CUTS, FARTHEST, descended, descent, end_near
from gdjax.basins.stationary import Stationary
from gdjax.descent import Descent, State
from gdjax.descent.description import INT32_MAX
from gdjax.descent.stepping import first_state
from gdjax.diagnosis.surface import norm
from gdjax.trees import PyTree

MOST_ROUNDS = 32
MOST_HALVINGS = 80  # a round
PATIENCE = 6  # rounds that lead to one critical point, which is not what is looked for
PUSH, HARDER = 0.5, 8.0  # off the saddle: the first push as a power of it, and each next one
DISCONTINUOUS = 30.0  # widths of the bracket, what the ends of its sides are apart at a border


def tracked(d: Descent, one: PyTree, other: PyTree) -> Tracked:
    """Follow the border between two starts of a canonical descent without batches or recorders."""
    endless = replace(d, stop=None, max_steps=INT32_MAX)
    pair = jax.tree.map(lambda a, b: jnp.stack([a, b]), one, other)
    sides = jax.vmap(lambda params: first_state(replace(endless, params=params)))(pair)
    span = norm(jnp.subtract(*vectors_of(d, sides)))
    shapes = jax.eval_shape(lambda x: end_near(d, x, span, 0.0), vectors_of(d, sides)[0])
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), nothing)
    zero, yes = jnp.zeros((), jnp.int32), jnp.ones((), bool)
    first = Turn(
        task=zero,
        sides=sides,
        ends=both,
        undecided=nothing,
        halvings=zero,
        misses=zero,
        push=jnp.zeros_like(span),
        found=Tracked(both, nothing, both, yes, zero, span),
        repeats=zero,
    )
    handlers = [_one, _other, _halve, _polish, _fall, _fall_back]

    def take(turn: Turn) -> Turn:
        turn = turn._replace(sides=descended(d, endless, turn))
        state, end = descent(d, turn)
        steps = [lambda *args, handle=handle: handle(d, *args) for handle in handlers]
        return lax.switch(turn.task, steps, turn, state, end)

    return lax.while_loop(lambda turn: turn.task != Task.DONE, take, first).found


def _one(d: Descent, turn: Turn, state: State, end: Stationary) -> Turn:
    sides, ends = _put(turn, 0, state, end)
    return turn._replace(task=named(Task.OTHER), sides=sides, ends=ends)


def _other(d: Descent, turn: Turn, state: State, end: Stationary) -> Turn:
    sides, ends = _put(turn, 1, state, end)
    moved = jnp.sum(norm(ends.vector - vectors_of(d, sides), axis=1))
    scale = turn.found.scale + jnp.where(jnp.isfinite(moved), moved, 0)
    differ = jnp.all(ends.is_minimum) & ~same(ends, scale)
    return turn._replace(
        task=jnp.where(differ, named(Task.HALVE), named(Task.DONE)),
        sides=sides,
        ends=ends,
        found=turn.found._replace(starts=ends, scale=scale),
    )


def _halve(d: Descent, turn: Turn, state: State, end: Stationary) -> Turn:
    """Let the middle take the place of the side whose end is nearer, be it of a third minimum."""
    distances = norm(turn.ends.vector - end.vector[None], axis=1)
    replaced = _put(turn, (distances[1] < distances[0]).astype(jnp.int32), state, end)
    decided = end.is_minimum
    (sides, ends), undecided = jax.tree.map(
        lambda a, b: jnp.where(decided, a, b),
        (replaced, turn.undecided),
        ((turn.sides, turn.ends), end),
    )
    misses = jnp.where(decided, 0, turn.misses + 1)
    is_narrow = width_of(d, sides) <= narrow(d, vectors_of(d, sides), turn.found.scale)
    enough = is_narrow | (misses == len(CUTS)) | (turn.halvings + 1 == MOST_HALVINGS)
    return turn._replace(
        task=jnp.where(enough, named(Task.POLISH), named(Task.HALVE)),
        sides=sides,
        ends=ends,
        undecided=undecided,
        halvings=turn.halvings + 1,
        misses=misses,
    )


def _polish(d: Descent, turn: Turn, state: State, end: Stationary) -> Turn:
    found = turn.found
    again = norm(end.vector - found.point.vector) <= narrow(d, end.vector, found.scale)
    apart = norm(jnp.subtract(*turn.ends.vector))
    jumps = turn.undecided.arrived | (apart > DISCONTINUOUS * width_of(d, turn.sides))
    turn = turn._replace(
        task=named(Task.FALL),
        push=(eps_of(d) ** PUSH * found.scale).astype(found.scale.dtype),
        found=found._replace(point=end, has_border=jumps),
        repeats=jnp.where(end.arrived & again, turn.repeats + 1, 0),
    )
    return _where(_is_saddle(end), turn, _next_round(turn))


def _fall(d: Descent, turn: Turn, state: State, end: Stationary) -> Turn:
    falls = jax.tree.map(lambda both, new: both.at[0].set(new), turn.found.falls, end)
    fallen = turn._replace(task=named(Task.FALL_BACK), found=turn.found._replace(falls=falls))
    return _where(end.is_minimum, fallen, _pushed_harder(turn))


def _fall_back(d: Descent, turn: Turn, state: State, end: Stationary) -> Turn:
    falls = jax.tree.map(lambda both, new: both.at[1].set(new), turn.found.falls, end)
    fallen = turn._replace(found=turn.found._replace(falls=falls))
    is_same = are_same(falls, turn.ends, turn.found.scale)
    sought = (is_same[0, 0] & is_same[1, 1]) | (is_same[0, 1] & is_same[1, 0])
    settled = _where(sought, fallen._replace(task=named(Task.DONE)), _next_round(fallen))
    return _where(end.is_minimum, settled, _pushed_harder(turn))


def _pushed_harder(turn: Turn) -> Turn:
    """Return the turn with a harder push, as a descent may stop where it is too near."""
    push = HARDER * turn.push
    falls = turn.found.falls._replace(arrived=jnp.zeros(2, bool))
    gone = _next_round(turn._replace(found=turn.found._replace(falls=falls)))
    again = turn._replace(task=named(Task.FALL), push=push)
    return _where(push <= FARTHEST * turn.found.scale, again, gone)


def _next_round(turn: Turn) -> Turn:
    rounds = turn.found.rounds + 1
    on = (rounds < MOST_ROUNDS) & (turn.repeats < PATIENCE) & turn.found.has_border
    return turn._replace(
        task=jnp.where(on, named(Task.HALVE), named(Task.DONE)),
        undecided=turn.undecided._replace(arrived=jnp.zeros((), bool)),
        halvings=jnp.zeros((), jnp.int32),
        misses=jnp.zeros((), jnp.int32),
        found=turn.found._replace(rounds=rounds),
    )


def _put(turn: Turn, side: int | jax.Array, state: State, end: Stationary) -> tuple:
    return jax.tree.map(
        lambda both, new: both.at[side].set(new), (turn.sides, turn.ends), (state, end)
    )


def _where(condition: jax.Array, one: Turn, other: Turn) -> Turn:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _is_saddle(point: Stationary) -> jax.Array:
    return point.arrived & (point.negative == 1) & point.is_certain
