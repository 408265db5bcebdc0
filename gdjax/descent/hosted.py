"""A run whose batches stay on the host: its loop is there too, around one compiled step."""

from typing import Any

import jax
import numpy as np

from gdjax import checks
from gdjax.batches import HostBatches
from gdjax.batches.hosted import read
from gdjax.batches.outside import READ_OUTSIDE
from gdjax.descent.description import Descent, with_batches, with_traced_budget
from gdjax.descent.histories import (
    common_period,
    empty,
    filled,
    recorders_of_histories,
    written,
)
from gdjax.descent.programs import compiled
from gdjax.descent.reopening import reopened
from gdjax.descent.state import State, Status
from gdjax.descent.stepping import first_state, next_state
from gdjax.record import Series


def moved_on_host(d: Descent, state: State | None) -> tuple[Descent, State, list[Series]]:
    """Return the descent with the last batches that it saw, its end and its histories."""
    assert isinstance(d.batches, HostBatches)
    _check_outside(d.max_steps)
    batches = read(d.batches, d.key, state.step if isinstance(state, State) else 0)
    seen = next(batches)
    every = recorders_of_histories(d)
    timed = with_traced_budget(d)
    budget, period = int(d.max_steps), common_period(every)

    end: State = compiled(_begun, with_batches(timed, seen), state)
    _check_outside(end.status)
    histories = compiled(_empty, with_batches(d, seen), end) if every else []
    steps = 0
    while steps < budget and end.status == Status.RUNNING:
        end, steps = compiled(next_state, with_batches(timed, seen), end), steps + 1
        if every and (steps % period == 0 or steps == budget):
            at = with_batches(d, seen)
            histories = compiled(_written, at, end, histories, np.int32(steps))
        seen = next(batches)  # before the state is looked at: the device computes meanwhile
    if every:
        histories = compiled(_filled, with_batches(d, seen), end, histories, np.int32(steps))
    return with_batches(d if every else timed, seen), end, histories


def _check_outside(value: Any) -> None:
    if not checks.is_concrete(value):
        raise TypeError(READ_OUTSIDE)


def _begun(d: Descent, state: State | None) -> State:
    return first_state(d) if state is None else reopened(d, state)


def _empty(d: Descent, state: State) -> list[Series]:
    return [empty(recorder, state, d) for recorder in recorders_of_histories(d)]


def _written(d: Descent, state: State, histories: list[Series], steps: jax.Array) -> list[Series]:
    pairs = zip(recorders_of_histories(d), histories)
    return [written(recorder, history, steps, state, d) for recorder, history in pairs]


def _filled(d: Descent, state: State, histories: list[Series], steps: jax.Array) -> list[Series]:
    pairs = zip(recorders_of_histories(d), histories)
    return [filled(recorder, history, steps, state, d) for recorder, history in pairs]
