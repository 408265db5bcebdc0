"""A whole run: the compiled loop around the step."""

import jax

from gdjax.batches import HostBatches
from gdjax.descent.description import Descent, checked, with_traced_budget
from gdjax.descent.histories import recorded, recorders_of_histories, with_histories
from gdjax.descent.programs import compiled
from gdjax.descent.reopening import reopened
from gdjax.descent.state import Result, State
from gdjax.descent.stepping import grad_norm
from gdjax.record import Series
from gdjax.trees import PyTree


def run(d: Descent, state: State | None = None) -> Result:
    """Run a descent to its end, compiled once for each pair of loss and optimizer.

    (And for each structure, shape and dtype of the rest, and each `max_steps` where that is the
    length of a history or, without `stop`, of the loop.) It may be called inside `jit`, `vmap` and
    forward-mode derivatives; with `stop=None` and a Python int for `max_steps`, inside
    reverse-mode ones too, where that of a run that diverged means nothing. Lanes of a `vmap` that
    finish early keep their end. With batches that stay on the host, the loop does so too, around
    one compiled step, and `run` cannot be called inside these.

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
    if isinstance(checked(d).batches, HostBatches):
        from gdjax.descent.hosted import moved_on_host  # few runs need it

        return Result.of(d, *compiled(_end, *moved_on_host(d, state)))
    if d.stop is not None and not recorders_of_histories(d):
        d = with_traced_budget(d)
    return Result.of(d, *compiled(_run, d, state))


def _run(d: Descent, state: State | None) -> tuple[State, jax.Array, PyTree]:
    return _parts(execute(d, None if state is None else reopened(d, state)))


def _end(d: Descent, state: State, histories: list[Series]) -> tuple[State, jax.Array, PyTree]:
    return _parts(_finished(d, state, histories))


def _parts(result: Result) -> tuple[State, jax.Array, PyTree]:
    return result.state, result.grad_norm, result.record  # XLA would copy what it returns twice


def execute(d: Descent, state: State | None) -> Result:
    """Return the result of a canonical descent from a state on; None is its start."""
    return _finished(d, *with_histories(d, state))


def _finished(d: Descent, state: State, histories: list[Series]) -> Result:
    return Result.of(None, state, grad_norm(state), recorded(d, state, histories))
