"""Edge tracking: along the border of two basins down to the saddle on it.

Skufca, Yorke and Eckhardt, Edge of chaos in a parallel shear flow, Physical Review Letters 96,
2006. Two states of different fate are brought close by bisection; they then descend until they
are some way apart, and are bisected again. So they follow the border, which attracts along itself
and repels across, and Newton's method finds the saddle once it is near.

All of it is one loop with one descent in each turn. So that is compiled once, and lanes of a
`vmap` wait for each other's descents only, whatever they are for.
"""

from dataclasses import replace
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.basins.stationary import Stationary, stationary_near
from gdjax.descent import Descent, State, Status
from gdjax.descent.description import INT32_MAX
from gdjax.descent.reopening import reopened
from gdjax.descent.running import execute
from gdjax.descent.stepping import first_state, next_state
from gdjax.diagnosis.surface import norm, surface
from gdjax.trees import PyTree, real_vector, strongly_typed

MOST_ROUNDS = 32
MOST_HALVINGS = 80  # a round
PATIENCE = 6  # rounds that lead to one critical point, which is not what is looked for
NARROW, WIDE = 0.75, 0.375  # powers of the machine epsilon: widths of the bracket, in scales
PUSH, HARDER = 0.5, 8.0  # off the saddle: the first push as a power of it, and each next one
FARTHEST = 0.05  # of the scale, that Newton's method may move
CUTS = (0.5, 0.382, 0.618)  # of the segment, one after the other where an end is undecided
DISCONTINUOUS = 30.0  # widths of the bracket, what the ends of its sides are apart at a border


class Tracked(NamedTuple):
    """Where the border led."""

    starts: Stationary  # [2] where the two starts end
    point: Stationary  # the critical point on the border
    falls: Stationary  # [2] where descents end that leave it along its least curvature
    has_border: jax.Array  # bool [] whether the ends of nearby starts differ at all
    rounds: jax.Array  # int32 []
    scale: jax.Array  # distance that others are compared with


class _Task(IntEnum):
    """What the next descent is for."""

    ONE = 0  # the end of the first start
    OTHER = 1  # that of the second
    HALVE = 2  # on which side of the border the middle is
    POLISH = 3  # no descent, but only Newton's method from the border
    FALL = 4  # where the saddle falls to
    FALL_BACK = 5  # on its other side
    DONE = 6


class _Turn(NamedTuple):
    task: jax.Array
    sides: State  # [2, ...] the bracket, on either side of the border
    ends: Stationary  # [2, ...] where they end
    undecided: Stationary  # the last end of this round that was not a minimum's, if any arrived
    halvings: jax.Array  # in this round
    misses: jax.Array  # undecided ends in a row
    push: jax.Array
    found: Tracked
    repeats: jax.Array  # of one critical point


def tracked(d: Descent, one: PyTree, other: PyTree) -> Tracked:
    """Follow the border between two starts of a canonical descent without batches or recorders."""
    endless = replace(d, stop=None, max_steps=INT32_MAX)
    pair = jax.tree.map(lambda a, b: jnp.stack([a, b]), one, other)
    sides = jax.vmap(lambda params: first_state(replace(endless, params=params)))(pair)
    span = norm(jnp.subtract(*_vectors(d, sides)))
    shapes = jax.eval_shape(lambda x: _end(d, x, span, 0.0), _vectors(d, sides)[0])
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), nothing)
    zero, yes = jnp.zeros((), jnp.int32), jnp.ones((), bool)
    first = _Turn(
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

    def take(turn: _Turn) -> _Turn:
        turn = turn._replace(sides=_descended(d, endless, turn))
        state, end = _descent(d, turn)
        steps = [lambda *args, handle=handle: handle(d, *args) for handle in handlers]
        return lax.switch(turn.task, steps, turn, state, end)

    return lax.while_loop(lambda turn: turn.task != _Task.DONE, take, first).found


def same(pair: Stationary, scale: jax.Array) -> jax.Array:
    """Return whether two points [2, ...] are one, up to their errors."""
    one, other = pair.vector
    rounding = jnp.finfo(one.dtype).eps ** NARROW * scale
    return norm(one - other) <= 8 * jnp.sum(pair.error) + rounding


def are_same(ones: Stationary, others: Stationary, scale: jax.Array) -> jax.Array:
    """Return the same for each of some points [n, ...] and others, bool [n, m]."""

    def both(one: Stationary, other: Stationary) -> jax.Array:
        return same(jax.tree.map(lambda a, b: jnp.stack([a, b]), one, other), scale)

    return jax.vmap(lambda one: jax.vmap(lambda other: both(one, other))(others))(ones)


def _eps(d: Descent) -> float:
    return surface(d, d.params)[0].eps


def _vectors(d: Descent, sides: State) -> jax.Array:
    return jax.vmap(lambda params: surface(d, params)[1])(sides.params)


def _width(d: Descent, sides: State) -> jax.Array:
    return norm(jnp.subtract(*_vectors(d, sides)))


def _narrow(d: Descent, vector: jax.Array, scale: jax.Array) -> jax.Array:
    return jnp.maximum(_eps(d) ** NARROW * scale, 8 * _eps(d) * jnp.max(jnp.abs(vector)))


def _end(d: Descent, x: jax.Array, scale: jax.Array, curvature: jax.Array | float) -> Stationary:
    at, _ = surface(d, d.params)
    return stationary_near(at, x, FARTHEST * scale, scale, curvature)


def _descent(d: Descent, turn: _Turn) -> tuple[State, Stationary]:
    """Return the state that the task begins with, and where it ends."""
    state, scale = _first_of(d, turn), turn.found.scale
    is_polish = turn.task == _Task.POLISH
    budget = jnp.where(is_polish, 0, jnp.asarray(d.max_steps, jnp.int32))
    bounded = replace(d, max_steps=budget)
    begun = reopened(bounded, state)
    end = execute(bounded, begun)
    stiffest = jnp.where(is_polish, jnp.max(jnp.abs(turn.ends.curvatures)), 0)
    found = _end(d, surface(d, end.params)[1], scale, stiffest)
    found = found._replace(arrived=found.arrived & (end.status != Status.DIVERGED))
    return state._replace(loss=begun.loss, grad=begun.grad), found


def _first_of(d: Descent, turn: _Turn) -> State:
    one, other = (jax.tree.map(lambda leaf, i=i: leaf[i], turn.sides) for i in (0, 1))
    own, unravel = real_vector(d.params)
    middle = jnp.mean(_vectors(d, turn.sides), axis=0)
    border = jnp.where(turn.undecided.arrived, turn.undecided.vector, middle)
    point, push = turn.found.point, jnp.where(turn.task == _Task.FALL, turn.push, -turn.push)
    there = jnp.where(turn.task == _Task.POLISH, border, point.vector + push * point.axis)
    params = unravel(there.astype(own.dtype))
    fresh = one._replace(
        params=params,
        opt_state=strongly_typed(d.optimizer.init(params)),
        step=jnp.zeros((), jnp.int32),
    )
    cases = one, other, _between(turn.sides, jnp.array(CUTS)[turn.misses]), fresh
    which = jnp.minimum(turn.task, _Task.POLISH)
    return jax.tree.map(lambda *leaves: lax.select_n(which, *leaves), *cases)


def _between(sides: State, share: jax.Array) -> State:
    """Return the state at a share of the segment, in parameters and in what is remembered."""

    def cut(both: jax.Array) -> jax.Array:
        if not jnp.issubdtype(both.dtype, jnp.inexact):
            return both[0]
        return both[0] + share.astype(both.real.dtype) * (both[1] - both[0])

    return jax.tree.map(cut, sides)


def _descended(d: Descent, endless: Descent, turn: _Turn) -> State:
    """Let both sides descend, as a round begins, until they are wide apart or out of budget."""
    begins = (turn.task == _Task.HALVE) & (turn.halvings == 0) & (turn.found.rounds > 0)
    wide = _eps(d) ** WIDE * turn.found.scale

    def close(carry: tuple[jax.Array, State]) -> jax.Array:
        steps, sides = carry
        return begins & (steps < d.max_steps) & (_width(d, sides) < wide)

    def step(carry: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        steps, sides = carry
        return steps + 1, jax.vmap(lambda state: next_state(endless, state))(sides)

    return lax.while_loop(close, step, (jnp.zeros((), jnp.int32), turn.sides))[1]


def _one(d: Descent, turn: _Turn, state: State, end: Stationary) -> _Turn:
    sides, ends = _put(turn, 0, state, end)
    return turn._replace(task=_named(_Task.OTHER), sides=sides, ends=ends)


def _other(d: Descent, turn: _Turn, state: State, end: Stationary) -> _Turn:
    sides, ends = _put(turn, 1, state, end)
    moved = jnp.sum(norm(ends.vector - _vectors(d, sides), axis=1))
    scale = turn.found.scale + jnp.where(jnp.isfinite(moved), moved, 0)
    differ = jnp.all(ends.is_minimum) & ~same(ends, scale)
    return turn._replace(
        task=jnp.where(differ, _named(_Task.HALVE), _named(_Task.DONE)),
        sides=sides,
        ends=ends,
        found=turn.found._replace(starts=ends, scale=scale),
    )


def _halve(d: Descent, turn: _Turn, state: State, end: Stationary) -> _Turn:
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
    narrow = _width(d, sides) <= _narrow(d, _vectors(d, sides), turn.found.scale)
    enough = narrow | (misses == len(CUTS)) | (turn.halvings + 1 == MOST_HALVINGS)
    return turn._replace(
        task=jnp.where(enough, _named(_Task.POLISH), _named(_Task.HALVE)),
        sides=sides,
        ends=ends,
        undecided=undecided,
        halvings=turn.halvings + 1,
        misses=misses,
    )


def _polish(d: Descent, turn: _Turn, state: State, end: Stationary) -> _Turn:
    found = turn.found
    again = norm(end.vector - found.point.vector) <= _narrow(d, end.vector, found.scale)
    apart = norm(jnp.subtract(*turn.ends.vector))
    jumps = turn.undecided.arrived | (apart > DISCONTINUOUS * _width(d, turn.sides))
    turn = turn._replace(
        task=_named(_Task.FALL),
        push=(_eps(d) ** PUSH * found.scale).astype(found.scale.dtype),
        found=found._replace(point=end, has_border=jumps),
        repeats=jnp.where(end.arrived & again, turn.repeats + 1, 0),
    )
    return _where(_is_saddle(end), turn, _next_round(turn))


def _fall(d: Descent, turn: _Turn, state: State, end: Stationary) -> _Turn:
    falls = jax.tree.map(lambda both, new: both.at[0].set(new), turn.found.falls, end)
    fallen = turn._replace(task=_named(_Task.FALL_BACK), found=turn.found._replace(falls=falls))
    return _where(end.is_minimum, fallen, _pushed_harder(turn))


def _fall_back(d: Descent, turn: _Turn, state: State, end: Stationary) -> _Turn:
    falls = jax.tree.map(lambda both, new: both.at[1].set(new), turn.found.falls, end)
    fallen = turn._replace(found=turn.found._replace(falls=falls))
    is_same = are_same(falls, turn.ends, turn.found.scale)
    sought = (is_same[0, 0] & is_same[1, 1]) | (is_same[0, 1] & is_same[1, 0])
    settled = _where(sought, fallen._replace(task=_named(_Task.DONE)), _next_round(fallen))
    return _where(end.is_minimum, settled, _pushed_harder(turn))


def _pushed_harder(turn: _Turn) -> _Turn:
    """Return the turn with a harder push, as a descent may stop where it is too near."""
    push = HARDER * turn.push
    falls = turn.found.falls._replace(arrived=jnp.zeros(2, bool))
    gone = _next_round(turn._replace(found=turn.found._replace(falls=falls)))
    again = turn._replace(task=_named(_Task.FALL), push=push)
    return _where(push <= FARTHEST * turn.found.scale, again, gone)


def _next_round(turn: _Turn) -> _Turn:
    rounds = turn.found.rounds + 1
    on = (rounds < MOST_ROUNDS) & (turn.repeats < PATIENCE) & turn.found.has_border
    return turn._replace(
        task=jnp.where(on, _named(_Task.HALVE), _named(_Task.DONE)),
        undecided=turn.undecided._replace(arrived=jnp.zeros((), bool)),
        halvings=jnp.zeros((), jnp.int32),
        misses=jnp.zeros((), jnp.int32),
        found=turn.found._replace(rounds=rounds),
    )


def _put(turn: _Turn, side: int | jax.Array, state: State, end: Stationary) -> tuple:
    return jax.tree.map(
        lambda both, new: both.at[side].set(new), (turn.sides, turn.ends), (state, end)
    )


def _where(condition: jax.Array, one: _Turn, other: _Turn) -> _Turn:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _named(task: _Task) -> jax.Array:
    return jnp.asarray(task, jnp.int32)


def _is_saddle(point: Stationary) -> jax.Array:
    return point.arrived & (point.negative == 1) & point.is_certain
