"""Where a run stands, and how it ended."""

from enum import IntEnum
from typing import Any, NamedTuple

import jax

from gdjax.trees import PyTree


class Status(IntEnum):
    """How a run stands: small integers, which compare with the arrays inside `jit`."""

    RUNNING = 0
    CONVERGED = 1  # the stopping condition holds
    DIVERGED = 2  # the next loss, gradient or parameters were not finite
    STEP_LIMIT = 3  # the budget of steps is used up


class State(NamedTuple):
    """A run between two steps; under `vmap` every array has a leading lane axis."""

    params: PyTree
    opt_state: Any
    loss: jax.Array  # [] loss at params
    grad: PyTree  # as params: direction of steepest ascent at params
    step: jax.Array  # int32 [] updates that led to params
    key: jax.Array | None  # the descent's random key, the same at every step
    status: jax.Array  # int8 [] a Status
    limit: jax.Array  # int32 [] the step at which the budget is used up
    stop_memory: PyTree  # what the stopping condition remembers
    folds: list[PyTree]  # what the folds of `record` remember, in tree order


class Result(NamedTuple):
    """The end of a run; under `vmap` every array has a leading lane axis."""

    params: PyTree  # the last finite parameters
    loss: jax.Array  # [] loss at params
    grad_norm: jax.Array  # [] largest absolute entry of the gradient at params
    steps: jax.Array  # int32 [] updates that led to params
    status: jax.Array  # int8 [] a Status
    record: PyTree  # as Descent.record, with what each recorder recorded
    state: State  # to go on from: run(d, state=result.state)
