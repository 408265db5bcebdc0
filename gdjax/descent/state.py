"""Where a run stands, and how it ended."""

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from gdjax import checks
from gdjax.trees import PyTree

if TYPE_CHECKING:
    from gdjax.descent.cost import Cost
    from gdjax.descent.description import Descent


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


class _Fields(NamedTuple):
    params: PyTree  # the last finite parameters
    loss: jax.Array  # [] loss at params
    grad_norm: jax.Array  # [] largest absolute entry of the gradient at params
    steps: jax.Array  # int32 [] updates that led to params
    status: jax.Array  # int8 [] a Status
    record: PyTree  # as Descent.record, with what each recorder recorded
    state: State  # to go on from: run(d, state=result.state)


class Result(_Fields):
    """The end of a run; under `vmap` every array has a leading lane axis."""

    # Beside the tree that a result is, whose structure must not depend on the run.
    _descent: "Descent | None" = None

    @property
    def cost(self) -> "Cost":
        """What the run cost, all updates that led to its parameters; see `gdjax.cost`.

        Computed when asked for: the update is compiled, for XLA's analysis of it, and a run whose
        optimizer searches along lines as optax does, as that of `optax.lbfgs` does, is repeated,
        to count its trials, as the state of the optimizer tells of them after each step: the
        examples that they see, and the gradients where they take some.

        Raises:
          TypeError: the result came out of `jit`, `vmap` or another function of pytrees, and does
            not know its descent: `gdjax.cost(d).of(result.steps)` tells the same.
        """
        from gdjax.descent.cost import cost_of_run  # few runs need it

        if self._descent is None or not checks.is_concrete(self.steps):
            raise TypeError(
                "result: out of jit or vmap it does not know its descent; "
                "take gdjax.cost(d).of(result.steps)"
            )
        return cost_of_run(self._descent, self)

    @classmethod
    def of(
        cls, d: "Descent | None", state: State, grad_norm: jax.Array, record: PyTree
    ) -> "Result":
        """Return the result at a state, which knows that it is that of this descent."""
        result = cls(
            params=state.params,
            loss=state.loss,
            grad_norm=grad_norm,
            steps=state.step,
            status=state.status,
            record=record,
            state=state,
        )
        result._descent = d
        return result
