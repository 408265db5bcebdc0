"""One step of a descent: a pure function from state to state."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gdjax.batches import HostBatches
from gdjax.descent.description import (
    INT32_MAX,
    Descent,
    canonical,
    recorders,
    with_batches,
    with_traced_budget,
)
from gdjax.descent.programs import compiled
from gdjax.descent.state import State, Status
from gdjax.losses import value, value_and_ascent
from gdjax.record import Fold
from gdjax.stop import Condition
from gdjax.trees import PyTree, all_finite, computed_once, max_abs, strongly_typed


class _Never(Condition):
    def holds(self, memory: Any, point: Any) -> jax.Array:
        return jnp.zeros((), bool)


def condition(d: Descent) -> Condition:
    """Return the descent's stopping condition; one that never holds where there is none."""
    return _Never() if d.stop is None else d.stop


def folds(d: Descent) -> list[Fold]:
    """Return the descent's folds, in tree order."""
    return [recorder for recorder in recorders(d.record) if isinstance(recorder, Fold)]


def status(d: Descent, state: State) -> jax.Array:
    """Return how a run stands whose loss, gradient and parameters are finite."""
    return ending(d, state).astype(jnp.int8)


def ending(d: Descent, state: State) -> jax.Array:
    """Return the same as int32, in which CPUs compute faster."""
    return ending_where(condition(d).holds(state.stop_memory, state), state)


def ending_where(stopped: jax.Array, state: State) -> jax.Array:
    """Return the same, given whether the stopping condition holds."""
    out_of_steps = jnp.where(state.step >= state.limit, Status.STEP_LIMIT, Status.RUNNING)
    return jnp.where(stopped, Status.CONVERGED, out_of_steps)


def limit(d: Descent, step: jax.Array) -> jax.Array:
    """Return the step at which a budget of `d.max_steps` from `step` on is used up."""
    # One that is traced may be of another type, and out of the range of int32.
    most = min(INT32_MAX, jnp.iinfo(jnp.result_type(d.max_steps)).max)
    budget = jnp.asarray(jnp.clip(d.max_steps, 0, most), jnp.int32)
    return step + jnp.minimum(budget, INT32_MAX - step)  # the sum must not wrap around


def arguments(d: Descent, step: jax.Array) -> tuple:
    """Return what the loss takes besides the parameters that `step` updates led to."""
    return d.args if d.batches is None else (*d.args, d.batches.at(d.key, step))


def with_batch(d: Descent, step: Any) -> Descent:
    """Return the descent with two batches read, from a step on, if they are on the host."""
    if not isinstance(d.batches, HostBatches):
        return d
    from gdjax.batches.hosted import read  # made by it, so it is imported

    return with_batches(d, next(read(d.batches, d.key, step)))


def first_state(d: Descent) -> State:
    """Return the state at the start of a canonical descent."""
    step = jnp.zeros((), jnp.int32)
    loss, grad = value_and_ascent(d.loss, d.params, arguments(d, step))
    state = State(
        params=d.params,
        opt_state=strongly_typed(d.optimizer.init(d.params)),
        loss=loss,
        grad=grad,
        step=step,
        key=d.key,
        status=jnp.zeros((), jnp.int8),
        limit=limit(d, step),
        stop_memory=(),
        folds=[],
    )
    state = state._replace(
        stop_memory=condition(d).init(state), folds=[fold.init(state) for fold in folds(d)]
    )
    diverged = jnp.asarray(Status.DIVERGED, jnp.int8)
    return state._replace(status=jnp.where(finite_state(state), status(d, state), diverged))


def finite_state(state: State) -> jax.Array:
    """Return whether loss, gradient and parameters are all finite."""
    return jnp.isfinite(state.loss) & all_finite(state.grad) & all_finite(state.params)


def next_state(d: Descent, state: State) -> State:
    """Return the state after one more update of a canonical descent; a finished one unchanged.

    An update whose loss, gradient or parameters are not finite is taken back: the state keeps what
    was finite, and is DIVERGED.
    """
    after = updated(d, state)
    after = after._replace(status=status(d, after))
    running = state.status == Status.RUNNING
    # Else a lane at the edge of overflow could take one half of the step and refuse the other.
    finite = computed_once(finite_state(after))
    diverged = jnp.where(running, Status.DIVERGED, state.status).astype(jnp.int8)
    # One select both freezes a finished run and takes back an update that is not finite.
    return jax.tree.map(
        lambda new, old: jnp.where(running & finite, new, old),
        after,
        state._replace(status=diverged),
    )


def updated(d: Descent, state: State) -> State:
    """Return the state after one more update, whatever comes out of it, with the same status."""
    updates, opt_state = d.optimizer.update(
        state.grad, state.opt_state, state.params, **extra_args(d, state)
    )
    opt_state = strongly_typed(opt_state)
    params = optax.apply_updates(state.params, updates)
    loss, grad = value_and_ascent(d.loss, params, arguments(d, state.step + 1))
    loss = computed_once(loss)
    after = state._replace(
        params=params,
        opt_state=opt_state,
        loss=loss,
        grad=grad,
        step=state.step + 1,
    )
    after = after._replace(
        stop_memory=condition(d).update(state.stop_memory, state, after),
        folds=[fold.update(memory, after) for fold, memory in zip(folds(d), state.folds)],
    )
    require_same_types("optimizer: its state after an update", opt_state, state.opt_state)
    require_same_types("record: the memory of the folds", after.folds, state.folds)
    return after


def _filled(params: PyTree, own: PyTree) -> PyTree:
    """Return the parameters with what `optax.masked` and `partition` leave out of them."""

    def is_masked(node: Any) -> bool:
        return isinstance(node, optax.MaskedNode)

    return jax.tree.map(
        lambda node, rest: rest if is_masked(node) else node, params, own, is_leaf=is_masked
    )


def extra_args(d: Descent, state: State) -> dict[str, Any]:
    """Return what the optimizer's update takes besides gradient, state and parameters."""
    args = arguments(d, state.step)

    # optax's line searches refuse an extra argument that `value_fn` does not take.
    def value_fn(params, obj_fn=None, grad_fn=None):
        return value(d.loss, _filled(params, state.params), args)

    def grad_fn(params, _=None):
        return value_and_ascent(d.loss, _filled(params, state.params), args)[1]

    extra = {
        "value": state.loss,
        "grad": state.grad,
        "value_fn": value_fn,
        "obj_fn": value_fn,
        "grad_fn": grad_fn,
    }
    parameters = inspect.signature(d.optimizer.update).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    positional = list(parameters)[:3]  # updates, state and params, whatever they are called there
    return {
        name: given
        for name, given in extra.items()
        if name not in positional and (takes_any or name in parameters)
    }


def init(d: Descent) -> State:
    """Return the state at the start of a descent, with its loss and gradient.

    Args:
      d: the descent.

    Returns:
      The state; already CONVERGED where the stopping condition holds at the start, DIVERGED where
      the loss, the gradient or the parameters are not finite there.

    Raises:
      TypeError: the loss does not return a real floating scalar.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(lambda w: w**2, 3.0, optax.sgd(0.1))
    >>> state = gdjax.init(d)
    >>> float(state.loss), float(state.grad), int(state.step)
    (9.0, 6.0, 0)
    """
    return compiled(first_state, with_batch(with_traced_budget(canonical(d)), 0))


def step(d: Descent, state: State) -> State:
    """Return the state after one update; a finished state comes back unchanged.

    The update takes the loss and gradient that the state holds, which are those of the descent
    that made it: where `d.args` change from step to step, they act one step later.

    Args:
      d: the descent.
      state: from `init`, an earlier `step`, or a result.

    Returns:
      The next state. Where the update's loss, gradient or parameters are not finite, the state
      before it, DIVERGED.

    Raises:
      TypeError: the loss does not return a real floating scalar, or the state's shapes and dtypes
        are not those of this descent.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(lambda w: w**2, 3.0, optax.sgd(0.25))
    >>> state = gdjax.step(d, gdjax.init(d))
    >>> float(state.params), int(state.step)
    (1.5, 1)
    """
    d = with_traced_budget(canonical(d))
    if isinstance(state, State):  # else the check below says so
        d = with_batch(d, state.step)
    return compiled(_checked_next_state, d, state)


def _checked_next_state(d: Descent, state: State) -> State:
    check_state(d, state)
    return next_state(d, state)


def check_state(d: Descent, state: Any) -> None:
    """Raise TypeError unless the state has the shapes and dtypes of this descent."""
    if not isinstance(state, State):
        raise TypeError(f"state: expected a gdjax.State, got {state!r}")
    require_same_types("state", state, jax.eval_shape(first_state, d))


def same_types(given: Any, expected: Any) -> bool:
    """Return whether two trees have the same structure, shapes and dtypes."""
    return jax.tree.structure(given) == jax.tree.structure(expected) and all(
        _type(a) == _type(b) for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(expected))
    )


def require_same_types(name: str, given: Any, expected: Any) -> None:
    """Raise TypeError naming the first leaf of `given` that is not of the expected type."""
    if jax.tree.structure(given) != jax.tree.structure(expected):
        raise TypeError(
            f"{name}: expected the structure {jax.tree.structure(expected)}, "
            f"got {jax.tree.structure(given)}; was it made by another descent?"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(given), jax.tree.leaves(expected))
    for (path, leaf), wanted in pairs:
        if _type(leaf) != _type(wanted):
            raise TypeError(
                f"{name}{jax.tree_util.keystr(path)}: expected {_type(wanted)}, as at the start, "
                f"got {_type(leaf)}"
            )


def _type(leaf: Any) -> str:
    return f"{jnp.result_type(leaf)}{jnp.shape(leaf)}"


def grad_norm(state: State) -> jax.Array:
    """Return the largest absolute entry of the gradient, NaN if any is not finite."""
    return jnp.where(all_finite(state.grad), max_abs(state.grad), jnp.nan)
