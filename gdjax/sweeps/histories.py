"""The histories of lanes: each turn has entries for them, and the end of a round a whole one.

In a round, the entries of a tile are written into rows that are counted from where it began. That
is for each lane a multiple of every period, so that for all lanes the same rows are due.
"""

from functools import partial
from math import lcm
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.descent import Descent, histories
from gdjax.descent.description import INT32_MAX
from gdjax.descent.histories import recorders_of_histories, rows, steps_of_rows
from gdjax.descent.state import State
from gdjax.descent.stepping import first_state
from gdjax.lanewise import Entries, Value, traced
from gdjax.record import Every, Series
from gdjax.sweeps.keys import without_keys
from gdjax.trees import PyTree

MOST_STEPS = 2**28  # in a round


class Rows(NamedTuple):
    """How the entries of a leaf of a history lie in its rows."""

    period: int  # steps from one to the next
    number: int  # of them


def rows_of_leaves(d: Descent) -> list[Rows]:
    """Return for each leaf of the entries how they lie in its rows.

    Raises:
      ValueError: a round would have more steps than are counted.
    """
    found = [
        Rows(recorder.period, rows(recorder, d))
        for recorder in recorders_of_histories(d)
        for _ in jax.tree.leaves(_shapes(recorder, d))
    ]
    period = period_of_all(found)
    if period > MOST_STEPS and d.max_steps > MOST_STEPS:
        raise ValueError(
            f"max_steps: expected at most {MOST_STEPS} in a sweep of lanes that record something "
            f"every {[own.period for own in found]} steps, of which {period} is the least common "
            f"multiple, got {d.max_steps}"
        )
    return found


def together(rows: Any) -> jax.Array:
    """Return the rows of a leaf of a history: an array, or `Entries` of the rows of each entry."""
    if not isinstance(rows, Entries):
        return rows
    scalars = rows.scalars
    return jnp.stack(list(scalars.flat), axis=-1).reshape(-1, *scalars.shape)


def period_of_all(leaves: list[Rows]) -> int:
    """Return the steps after which every history has an entry due."""
    return min(lcm(*(own.period for own in leaves)), INT32_MAX)  # no round has as many


def room_for_entries(rows: Rows, entry: PyTree, axis: int) -> PyTree:
    """Return rows [lanes, rows + 1, ...] for such entries, the last for those that are not due.

    The entries have their lanes at `axis`; the rows have them first, as results do.
    """

    def room(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        shape = list(leaf.shape)
        lanes = shape.pop(axis)
        return jnp.zeros((lanes, rows.number + 1, *shape), leaf.dtype)

    return jax.tree.map(room, entry)


def with_entry(rows: Rows, seen: PyTree, entry: PyTree, axis: int, count: jax.Array) -> PyTree:
    """Return the rows of a round with what its turn number `count` has for them."""
    period = np.int32(rows.period)
    is_due = lax.rem(count, period) == 0
    row = jnp.where(is_due, lax.div(count, period), np.int32(rows.number))

    def written(leaf: jax.Array, own: jax.Array) -> jax.Array:
        return lax.dynamic_update_index_in_dim(leaf, jnp.moveaxis(own, axis, 0), row, 1)

    return jax.tree.map(written, seen, entry)


def due_rows(room: list[PyTree]) -> list[PyTree]:
    """Return the rows of a round without the last."""
    return jax.tree.map(lambda leaf: leaf[:, :-1], room)


def empty_histories(d: Descent) -> list[PyTree]:
    """Return the histories of a descent, with nothing in them."""

    def empty(count: int, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.zeros((count, *leaf.shape), leaf.dtype)

    return [
        jax.tree.map(partial(empty, rows(recorder, d)), _shapes(recorder, d))
        for recorder in recorders_of_histories(d)
    ]


def looks_at_what_is_lost(d: Descent, state: State) -> bool:
    """Return whether an entry depends on the states of the optimizer or the condition.

    Those of a lane that ended are not kept. `state` are the shapes of one.
    """

    def found(recorder: Every) -> bool:
        def of(opt_state: Any, stop_memory: Any, state: State) -> PyTree:
            state = state._replace(opt_state=opt_state, stop_memory=stop_memory)
            return _entry(recorder, state, d)

        parts = state.opt_state, state.stop_memory
        program, _ = traced(of, *parts, state)
        lost = {v.number for v in program.inputs[: len(jax.tree.leaves(parts))]}
        used = [atom for operation in program.operations for atom in operation.inputs]
        return any(isinstance(a, Value) and a.number in lost for a in (*used, *program.outputs))

    return any(map(found, recorders_of_histories(d)))


def entries(d: Descent, point: State, count: jax.Array) -> list[PyTree]:
    """Return what a turn has for the histories, after `count` others in its round."""

    def of_one(recorder: Every) -> PyTree:
        if recorder.period == 1 or not _computes(recorder, d):
            return _entry(recorder, point, d)
        shapes = _shapes(recorder, d)
        return lax.cond(
            count % recorder.period == 0,
            lambda: _entry(recorder, point, d),
            lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes),
        )

    return [of_one(recorder) for recorder in recorders_of_histories(d)]


def series(
    d: Descent,
    point: State,
    base: jax.Array,
    end: jax.Array,
    before: list[PyTree],
    seen: list[PyTree],
) -> list[Series]:
    """Return the histories at the end of a round.

    Args:
      d: the descent.
      point: where its lane stands.
      base: int32 [], the updates before this round.
      end: int32 [], the first step whose entry is that of the point, as those of all after it.
      before: the histories at the end of the round before, which mean nothing from `base` on.
      seen: the rows of this round.
    """
    found = []
    for recorder, old, new in zip(recorders_of_histories(d), before, seen):
        steps = steps_of_rows(recorder, d)
        joined = partial(_joined, steps < base, steps >= end, base // recorder.period)
        values = jax.tree.map(joined, _entry(recorder, point, d), old, new)
        found.append(Series(jnp.minimum(steps, point.step), values))
    return found


def _joined(is_old: Any, is_end: Any, first: Any, end: Any, old: Any, new: Any) -> jax.Array:
    """Return a leaf of a history: old rows, those from the first of a round on, and the end."""

    def column(rows: jax.Array) -> jax.Array:
        return rows.reshape(-1, *[1] * jnp.ndim(end))

    # For lanes that begin, all of this is `new`, which XLA sees in a slice but not in a gather.
    count = len(new)
    at = lax.dynamic_slice_in_dim(jnp.concatenate([new, new]), count - first, count)
    return jnp.where(column(is_end), end, jnp.where(column(is_old), old, at))


def _entry(recorder: Every, state: State, d: Descent) -> PyTree:
    """Return what is recorded of a state; a typed key has no rows, and the numbers of one do."""
    return without_keys(histories.entry(recorder, state, d))


def _shapes(recorder: Every, d: Descent) -> PyTree:
    """Return the shapes and dtypes of an entry."""
    return jax.eval_shape(lambda: _entry(recorder, first_state(d), d))


def _computes(recorder: Every, d: Descent) -> bool:
    """Return whether an entry is more than parts of the state."""
    state = jax.eval_shape(first_state, d)
    program, _ = traced(lambda state: _entry(recorder, state, d), state)
    return bool(program.operations)
