"""A whole run: the compiled loop around the step."""

from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from gdjax.descent.description import (
    Descent,
    canonical,
    recorders,
    whole_arguments,
    with_recorded,
    with_traced_budget,
)
from gdjax.descent.loop import advanced
from gdjax.descent.programs import compiled
from gdjax.descent.state import Result, State, Status
from gdjax.descent.stepping import (
    arguments,
    check_state,
    condition,
    finite_state,
    first_state,
    folds,
    grad_norm,
    limit,
    require_same_types,
    same_types,
    status,
)
from gdjax.losses import value_and_ascent
from gdjax.record import Every, Series
from gdjax.trees import PyTree


def run(d: Descent, state: State | None = None) -> Result:
    """Run a descent to its end, compiled once for each pair of loss and optimizer.

    (And for each structure, shape and dtype of the rest, and each `max_steps` where that is the
    length of a history or, without `stop`, of the loop.) It may be called inside `jit`, `vmap` and
    forward-mode derivatives; with `stop=None` and a Python int for `max_steps`, inside
    reverse-mode ones too, where a run that diverged has NaN for its derivative. Lanes of a `vmap`
    that finish early keep their end.

    Args:
      d: the descent.
      state: where to go on, such as the state of an earlier result: with another `d.max_steps`
        steps, and from a converged state only if `d.stop` does not hold there. Loss and gradient
        are computed anew, as `d.loss` and `d.args` may be others; `Series` of `record` begin
        anew; folds and what `stop` remembers go on, or begin anew where they are of another kind.
        The descent's own start if left out.

    Returns:
      The result; its parameters, loss and gradient norm are the last finite ones.

    Raises:
      TypeError: the loss does not return a real floating scalar, the state is not of this
        descent, or the optimizer's update changes the shape or dtype of its state.

    >>> import gdjax, optax
    >>> result = gdjax.run(gdjax.Descent(lambda w: (w - 2) ** 2, 0.0, optax.sgd(0.1)))
    >>> result.status == gdjax.Status.CONVERGED, round(float(result.params), 3)
    (Array(True, dtype=bool), 2.0)
    """
    d = canonical(d)
    if d.stop is not None and not _histories(d):
        d = with_traced_budget(d)
    return _result(*compiled(_run, d, state))


def _run(d: Descent, state: State | None) -> tuple[State, jax.Array, PyTree]:
    result = execute(d, None if state is None else _reopened(d, state))
    return result.state, result.grad_norm, result.record  # XLA would copy what it returns twice


def _result(state: State, norm: jax.Array, record: PyTree) -> Result:
    return Result(
        params=state.params,
        loss=state.loss,
        grad_norm=norm,
        steps=state.step,
        status=state.status,
        record=record,
        state=state,
    )


def _reopened(d: Descent, state: Any) -> State:
    """Return the state with a new budget, as this descent sees it; what diverged stays so."""
    if not isinstance(state, State):
        raise TypeError(f"state: expected a gdjax.State, got {state!r}")
    # Before the loss meets them: its own error would not name the state.
    require_same_types("state.params", state.params, d.params)
    loss, grad = value_and_ascent(d.loss, state.params, arguments(d, state.step))
    seen = state._replace(loss=loss, grad=grad, limit=limit(d, state.step))
    anew = {
        "stop_memory": condition(d).init(seen),
        "folds": [fold.init(seen) for fold in folds(d)],
    }
    seen = seen._replace(
        **{name: new for name, new in anew.items() if not same_types(getattr(state, name), new)}
    )
    check_state(d, seen)
    diverged = (state.status == Status.DIVERGED) | ~finite_state(seen)
    new_status = jnp.where(diverged, Status.DIVERGED, status(d, seen)).astype(jnp.int8)
    return seen._replace(status=new_status)


def _histories(d: Descent) -> list[Every]:
    return [recorder for recorder in recorders(d.record) if isinstance(recorder, Every)]


def execute(d: Descent, state: State | None) -> Result:
    """Return the result of a canonical descent from a state on; None is its start."""
    state, histories = _with_histories(d, state)
    history, memory = iter(histories), iter(zip(folds(d), state.folds))
    recorded = []
    for recorder in recorders(d.record):
        if isinstance(recorder, Every):
            recorded.append(next(history))
        else:
            fold, accumulated = next(memory)
            left = state.limit - state.step
            recorded.append(fold.finish(fold.pad(accumulated, state, left)))
    return _result(state, grad_norm(state), with_recorded(d.record, recorded))


def _with_histories(d: Descent, state: State | None) -> tuple[State, list[Series]]:
    every = _histories(d)
    if not every:
        return advanced(d, state, d.max_steps), []
    assert isinstance(d.max_steps, int)
    state = first_state(d) if state is None else state
    max_steps, stride = d.max_steps, gcd(*(recorder.period for recorder in every))

    # The histories are written between chunks, in a row that all lanes of a `vmap` share, and are
    # never part of a loop whose lanes end apart: there each step would copy them.
    def chunk(done: int | jax.Array, carry: tuple, length: int = stride) -> tuple:
        state, histories = carry
        state = advanced(d, state, length)
        steps = jnp.minimum(jnp.asarray(done * stride + length, jnp.int32), max_steps)
        return state, [_written(r, h, steps, state, d) for r, h in zip(every, histories)]

    carry = state, [_empty(recorder, state, d) for recorder in every]
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
    return state, [_filled(r, h, done * stride, state, d) for r, h in zip(every, histories)]


def _ceil_div(dividend, divisor):
    return -(-dividend // divisor)


def _entry(recorder: Every, state: State, d: Descent) -> Series:
    return Series(state.step, recorder.entry(state, d.loss, whole_arguments(d)))


def _empty(recorder: Every, state: State, d: Descent) -> Series:
    rows = _ceil_div(d.max_steps, recorder.period) + 1
    return jax.tree.map(
        lambda leaf: jnp.zeros((rows, *jnp.shape(leaf)), jnp.result_type(leaf)).at[0].set(leaf),
        _entry(recorder, state, d),
    )


def _written(
    recorder: Every, history: Series, steps: jax.Array, state: State, d: Descent
) -> Series:
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


def _filled(recorder: Every, history: Series, steps: jax.Array, state: State, d: Descent) -> Series:
    """Return the history with the end of the run in every row after `steps`."""

    def fill(rows: jax.Array, leaf: jax.Array) -> jax.Array:
        number = jnp.arange(len(rows), dtype=jnp.int32).reshape(-1, *[1] * (rows.ndim - 1))
        return jnp.where(number * recorder.period > steps, leaf, rows)

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
