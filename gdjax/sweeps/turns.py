"""A lane in the compiled loop: what it carries, and what one turn of the loop does to it.

A turn looks at the point where the lane stands, decides whether the run ends there, and steps on
if it does not. So loss and gradient are computed in one place and need not be carried, and a point
that turns out not to be finite is left for the one before it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gdjax.descent.description import Descent
from gdjax.descent.histories import recorded
from gdjax.descent.state import State, Status
from gdjax.descent.stepping import (
    arguments,
    condition,
    extra_args,
    finite_state,
    first_state,
    folds,
    grad_norm,
    limit,
    require_same_types,
)
from gdjax.losses import value_and_ascent
from gdjax.record import Series
from gdjax.sweeps.histories import entries, looks_at_what_is_lost, series
from gdjax.trees import PyTree, all_finite, is_floating, strongly_typed

MOST_TURNS = 2**20  # in a round, so that int32 holds the counts of a tile; more between two entries
# Before jax 0.12 XLA computes a state that stays once more for the parameters, rounded otherwise.
STATES_STAY = jax.__version_info__ >= (0, 12)
STEP = 4  # what an update adds to a code of a lane that ended: its status is below


class Outcome(NamedTuple):
    """What a sweep keeps of each lane; every array has a leading lane axis."""

    params: PyTree
    loss: jax.Array
    grad_norm: jax.Array
    steps: jax.Array
    status: jax.Array
    record: PyTree


class LaneState(NamedTuple):
    """What a turn changes."""

    code: jax.Array  # int32 []: updates in this round; below 0 see `ended`
    params: PyTree
    previous: PyTree  # as params: the point before
    opt_state: Any
    loss: jax.Array  # [] at the point before, and its gradient; XLA drops what nothing looks
    grad: PyTree  # back at
    grad_norm: jax.Array  # []
    stop_memory: PyTree
    folds: list[PyTree]
    lasting: PyTree  # states of optimizer and condition at the last point, if a history asks
    noted: "Noted | None"  # if the lane is watched


class Noted(NamedTuple):
    """What a diagnosis needs to know of a lane's way, unless that diverged."""

    peak: jax.Array  # [] largest loss
    copied: Any  # the optimizer's state at the last point, but None for what stays there

    def opt_state(self, staying: Any) -> Any:
        """Return the whole state, given one with what stays at the last point."""
        return jax.tree.map(
            lambda copy, leaf: leaf if copy is None else copy,
            self.copied,
            staying,
            is_leaf=lambda leaf: leaf is None,
        )


def ended(updates: Any, status: Any) -> Any:
    """Return the code of a lane that ended after so many updates in this round, -1 or more."""
    return -1 - (STEP * (updates + 1) + status)


def is_running(code: Any) -> Any:
    """Return whether a lane goes on."""
    return code >= 0


def is_undecided(code: Any) -> Any:
    """Return whether a lane stands where it is not finite, though it had begun where it was."""
    ended = -1 - code
    return (code < 0) & (ended & 3 == Status.DIVERGED) & (ended >= STEP)


def updates(code: Any) -> Any:
    """Return the updates in this round, -1 where its first turn took the one before back."""
    return jnp.where(is_running(code), code, ((-1 - code) >> 2) - 1)


def status_of(code: Any) -> Any:
    """Return the `Status` in a code."""
    return jnp.where(is_running(code), Status.RUNNING, (-1 - code) & 3)


def steps(base: Any, code: Any) -> Any:
    """Return the updates in all; where the start itself is not finite, there was none to undo."""
    return jnp.maximum(base + updates(code), 0)


def start(d: Descent, *, is_watched: bool) -> LaneState:
    """Return the state of a canonical descent before its first turn."""
    shapes = jax.eval_shape(lambda: first_state(d))
    norm = jax.eval_shape(grad_norm, shapes)
    asked = looks_at_what_is_lost(d, shapes)
    lasting = (shapes.opt_state, shapes.stop_memory) if asked else ()
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        (shapes.loss, shapes.grad, norm, shapes.stop_memory, shapes.folds, lasting),
    )
    opt_state = strongly_typed(d.optimizer.init(d.params))
    lowest = jnp.full((), -jnp.inf, shapes.loss.dtype)
    noted = Noted(lowest, _copied(opt_state)) if is_watched else None
    begin = jnp.zeros((), jnp.int32), d.params, d.params, opt_state
    return LaneState(*begin, *zeros, noted=noted)


def turn(
    d: Descent, base: jax.Array, count: jax.Array, lane: LaneState
) -> tuple[LaneState, list[PyTree]]:
    """Return the state after one turn, of a lane that had made `base` updates before this round.

    With it comes what the turn has for the histories of the lane.

    `count` is the number of turns before in this round: all that run have made as many updates, so
    that one number stands for them. A finished lane keeps `code`, `params` and `folds`; what else
    it carries means nothing, but for what is noted of a watched one.
    """
    point = _point(d, lane, base + count)
    first, running = point.step == 0, lane.code == count
    memory, folded = _remembered(d, lane, point, first)
    finite = jnp.isfinite(point.loss) & all_finite(point.grad)
    stopped = condition(d).holds(memory, point)
    # Chosen among numbers that all lanes share. All that the turn decides is in this one array,
    # and XLA computes it once.
    on = jnp.where(point.step >= point.limit, ended(count, Status.STEP_LIMIT), count + 1)
    on = jnp.where(stopped, ended(count, Status.CONVERGED), on)
    code = jnp.where(finite, on, ended(count - 1, Status.DIVERGED))
    code = lax.optimization_barrier(jnp.where(running, code, lane.code))
    changes, opt_state = d.optimizer.update(
        point.grad, lane.opt_state, lane.params, **extra_args(d, point)
    )
    opt_state = strongly_typed(opt_state)
    require_same_types("optimizer: its state after an update", opt_state, lane.opt_state)
    moved = optax.apply_updates(lane.params, changes)
    noted = lane.noted
    if noted is not None:
        opt_state = _staying(code > count, opt_state, lane.opt_state)
        noted = _noted_on(d, noted, point, running)
    seen = running & (first | finite)
    lasting = (lane.opt_state, memory) if lane.lasting else ()
    after = LaneState(
        code=code,
        params=_chosen(code > count, moved, lane.params),
        previous=lane.params,
        opt_state=opt_state,
        loss=point.loss,
        grad=point.grad,
        grad_norm=grad_norm(point),
        stop_memory=memory,
        folds=_chosen(seen, folded, lane.folds),
        lasting=_chosen(seen, lasting, lane.lasting),
        noted=noted,
    )
    return after, entries(d, point._replace(stop_memory=memory, folds=folded), count)


def careful(count: jax.Array, before: LaneState, after: LaneState, base: jax.Array) -> LaneState:
    """Return the state after a turn that looks at the parameters too, and takes a step back.

    `turn` does neither, to save time: it leaves a lane at a point that is not finite, and since
    parameters that are not finite stay so, it is at the end of a round that one looks at them.
    A finished lane keeps its loss and the norm of its gradient too.
    """
    undone = ended(count - 1, Status.DIVERGED)
    bad = (before.code == count) & ~all_finite(before.params)
    code = lax.optimization_barrier(jnp.where(bad, undone, after.code))
    is_undone = code == undone
    is_back = is_undone & (base + count > 0)
    stays = is_back | (before.code != count)
    return after._replace(
        code=code,
        params=_chosen(is_undone, before.previous, after.params),
        loss=jnp.where(stays, before.loss, after.loss),
        grad_norm=jnp.where(stays, before.grad_norm, after.grad_norm),
        folds=_chosen(is_back, before.folds, after.folds),
        lasting=_chosen(is_back, before.lasting, after.lasting),
    )


def end(
    d: Descent, base: jax.Array, lane: LaneState, before: list[PyTree], seen: list[PyTree]
) -> tuple[jax.Array, Outcome, list[Series]]:
    """Return the outcome of a lane, and its code, undecided where its point is not finite.

    And its histories, made of those at the end of the round before and what is seen in this one.
    """
    point = _point(d, lane, steps(base, lane.code))
    point = point._replace(status=status_of(lane.code).astype(jnp.int8))
    # The entry of a point that the next turn took back is that of a lane which was still running.
    last = base + updates(lane.code) + (point.status == Status.DIVERGED)
    if lane.lasting:
        opt_state, stop_memory = lane.lasting
        point = point._replace(opt_state=opt_state, stop_memory=stop_memory)
    histories = series(d, point, base, last, before, seen)
    finite = all_finite(lane.params) & (~is_running(lane.code) | finite_state(point))
    suspect = ~finite & (point.status != Status.DIVERGED)
    code = jnp.where(suspect, ended(0, Status.DIVERGED), lane.code)
    outcome = Outcome(
        params=lane.params,
        loss=point.loss,
        grad_norm=grad_norm(point),
        steps=point.step,
        status=point.status,
        record=recorded(d, point, histories),
    )
    return code, outcome, histories


def _point(d: Descent, lane: LaneState, step: jax.Array) -> State:
    """Return the run at the point where the lane stands, as the parts of a descent see it."""
    # One value for all that depends on it: XLA computes cheap ones anew, with other roundings.
    loss, grad = lax.optimization_barrier(value_and_ascent(d.loss, lane.params, arguments(d, step)))
    return State(
        params=lane.params,
        opt_state=lane.opt_state,
        loss=loss,
        grad=grad,
        step=step,
        key=d.key,
        status=jnp.zeros((), jnp.int8),
        limit=limit(d, jnp.zeros((), jnp.int32)),
        stop_memory=lane.stop_memory,
        folds=lane.folds,
    )


def _remembered(
    d: Descent, lane: LaneState, point: State, first: jax.Array
) -> tuple[PyTree, list[PyTree]]:
    """Return what the stopping condition and the folds remember at a point."""
    before = point._replace(
        params=lane.previous, loss=lane.loss, grad=lane.grad, step=point.step - 1
    )
    memory = _chosen(
        first,
        condition(d).init(point),
        condition(d).update(lane.stop_memory, before, point),
    )
    updated = [fold.update(memory, point) for fold, memory in zip(folds(d), lane.folds)]
    require_same_types("record: the memory of the folds", updated, lane.folds)
    return memory, _chosen(first, [fold.init(point) for fold in folds(d)], updated)


def _noted_on(d: Descent, noted: Noted, point: State, running: jax.Array) -> Noted:
    """Return what is noted after a turn at a point."""
    peak = jnp.maximum(noted.peak, point.loss)
    if d.batches is not None:  # else a lane that ended has the same loss again
        peak = jnp.where(running, peak, noted.peak)
    return Noted(peak, _chosen(running, _copied(point.opt_state), noted.copied))


def _stays(leaf: Any) -> bool:
    """Return whether a leaf of an optimizer's state stays as it is where a watched lane ends.

    Counts do not: as long as lanes run, they are often the same for all.
    """
    return STATES_STAY and is_floating(leaf)


def _copied(opt_state: Any) -> Any:
    return jax.tree.map(lambda leaf: None if _stays(leaf) else leaf, opt_state)


def _staying(choice: jax.Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(choice, a, b) if _stays(a) else a, yes, no)


def _chosen(choice: jax.Array, yes: PyTree, no: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(choice, a, b), yes, no)
