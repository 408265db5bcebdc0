"""The histories of a run: what it records at every n-th step."""

from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from gdjax.descent.description import Descent, recorders, whole_arguments, with_recorded
from gdjax.descent.loop import advanced
from gdjax.descent.state import State, Status
from gdjax.descent.stepping import first_state, folds
from gdjax.record import Every, OfLoss, Series
from gdjax.trees import PyTree, strongly_typed


def recorders_of_histories(d: Descent) -> list[Every]:
    """Return the recorders of histories, in tree order."""
    return [recorder for recorder in recorders(d.record) if isinstance(recorder, Every)]


def with_histories(d: Descent, state: State | None) -> tuple[State, list[Series]]:
    """Return the end of a run from a state on, and its histories; None is its start."""
    every = recorders_of_histories(d)
    if not every:
        return advanced(d, state, d.max_steps), []
    assert isinstance(d.max_steps, int)
    state = first_state(d) if state is None else state
    max_steps, stride = d.max_steps, common_period(every)

    # The histories are written between chunks, in a row that all lanes of a `vmap` share, and are
    # never part of a loop whose lanes end apart: there each step would copy them.
    def chunk(done: int | jax.Array, carry: tuple, length: int = stride) -> tuple:
        state, histories = carry
        state = advanced(d, state, length)
        steps = jnp.minimum(jnp.asarray(done * stride + length, jnp.int32), max_steps)
        return state, [written(r, h, steps, state, d) for r, h in zip(every, histories)]

    carry = state, [empty(recorder, state, d) for recorder in every]
    if d.stop is None:
        chunks, rest = divmod(max_steps, stride)
        carry = lax.fori_loop(0, chunks, chunk, carry)
        return chunk(chunks, carry, rest) if rest else carry

    chunks = _ceil_div(max_steps, stride)
    done, (state, histories) = lax.while_loop(
        lambda loop: (loop[0] < chunks) & _any(loop[1][0].status == Status.RUNNING),
        lambda loop: (loop[0] + 1, chunk(*loop)),
        (jnp.zeros((), jnp.int32), carry),
    )
    return state, [filled(r, h, done * stride, state, d) for r, h in zip(every, histories)]


def common_period(every: list[Every]) -> int:
    """Return the steps between two looks at which some history may be due."""
    return gcd(*(recorder.period for recorder in every))


def recorded(d: Descent, state: State, histories: list[Series]) -> PyTree:
    """Return what a descent recorded up to a state, shaped as its recorders."""
    history, memory = iter(histories), iter(zip(folds(d), state.folds))
    found = []
    for recorder in recorders(d.record):
        if isinstance(recorder, Every):
            found.append(next(history))
        else:
            fold, accumulated = next(memory)
            left = state.limit - state.step
            found.append(fold.finish(fold.pad(accumulated, state, left)))
    return with_recorded(d.record, found)


def _ceil_div(dividend, divisor):
    return -(-dividend // divisor)


def entry(recorder: Every, state: State, d: Descent) -> PyTree:
    """Return what is recorded of a state of a descent, as arrays."""
    args = whole_arguments(d) if isinstance(recorder.of, OfLoss) else ()
    return jax.tree.map(jnp.asarray, strongly_typed(recorder.entry(state, d.loss, args)))


def _entry(recorder: Every, state: State, d: Descent) -> Series:
    return Series(state.step, entry(recorder, state, d))


def rows(recorder: Every, d: Descent) -> int:
    """Return the number of entries of a history."""
    assert isinstance(d.max_steps, int)
    return _ceil_div(d.max_steps, recorder.period) + 1


def steps_of_rows(recorder: Every, d: Descent) -> jax.Array:
    """Return the step [rows] that each entry of a history is due at."""
    number = jnp.arange(rows(recorder, d), dtype=jnp.int32)
    # A period beyond the budget might be beyond int32 as well.
    return jnp.where(number < len(number) - 1, number * recorder.period, d.max_steps)


def empty(recorder: Every, state: State, d: Descent) -> Series:
    """Return a history that holds its first entry."""
    count = rows(recorder, d)
    return jax.tree.map(
        lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype).at[0].set(leaf),
        _entry(recorder, state, d),
    )


def written(recorder: Every, history: Series, steps: jax.Array, state: State, d: Descent) -> Series:
    """Return the history with the entry of a state `steps` after the first, where one is due."""

    def write(history: Series) -> Series:
        return jax.tree.map(
            lambda rows, leaf: lax.dynamic_update_index_in_dim(
                rows, leaf, _ceil_div(steps, recorder.period), 0
            ),
            history,
            _entry(recorder, state, d),
        )

    due = (steps % recorder.period == 0) | (steps == d.max_steps)
    return lax.cond(due, write, lambda history: history, history)


def filled(recorder: Every, history: Series, steps: jax.Array, state: State, d: Descent) -> Series:
    """Return the history with the end of the run in every row after `steps`."""
    later = steps_of_rows(recorder, d) > steps

    def fill(rows: jax.Array, leaf: jax.Array) -> jax.Array:
        return jnp.where(later.reshape(-1, *[1] * (rows.ndim - 1)), leaf, rows)

    return jax.tree.map(fill, history, _entry(recorder, state, d))


@custom_vmap
def _any(running: jax.Array) -> jax.Array:
    """Return whether any lane of the surrounding `vmap`s is running: one answer for all.

    With a test of its own for each lane, JAX would copy the whole carry of every loop around it
    at each step, to freeze the lanes that are done; `advanced` freezes them already.
    """
    return running


@_any.def_vmap
def _any_of_lanes(lanes: int, batched: Any, running: PyTree) -> tuple[jax.Array, bool]:
    return _any(jnp.any(running, axis=0)), False
