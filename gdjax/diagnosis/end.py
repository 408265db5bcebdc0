"""The end of a run: what a diagnosis begins with."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdjax.batches import Batches, HostBatches, Order
from gdjax.descent import Descent, State
from gdjax.descent.stepping import arguments, extra_args
from gdjax.losses import value_and_ascent
from gdjax.trees import PyTree, is_floating, real_vector


class End(NamedTuple):
    """Where a run ended."""

    params: PyTree
    opt_state: Any
    steps: jax.Array  # int32 []
    status: jax.Array  # int8 [] a Status
    peak: jax.Array  # [] largest loss on the way


def plain(d: Descent) -> Descent:
    """Return the descent without an end and without recorders."""
    return replace(d, stop=None, record=None)


def state_at(d: Descent, end: End) -> State:
    """Return the state of a plain descent at the end of a run."""
    loss, grad = value_and_ascent(d.loss, end.params, arguments(d, end.steps))
    return State(
        params=end.params,
        opt_state=end.opt_state,
        loss=loss,
        grad=grad,
        step=end.steps,
        key=d.key,
        status=jnp.zeros((), jnp.int8),
        limit=jnp.asarray(jnp.iinfo(jnp.int32).max, jnp.int32),
        stop_memory=(),
        folds=[],
    )


def next_update(d: Descent, end: End) -> jax.Array:
    """Return what the next step would add to the parameters, a real vector [dim]."""
    d = plain(d)
    return update_of(d, state_at(d, end))


def with_rates(d: Descent, end: End) -> tuple[jax.Array, jax.Array]:
    """Return the same, and how much each entry of the gradient lowers its own [dim]."""
    d = plain(d)
    state = state_at(d, end)
    gradient, unravel = real_vector(state.grad)

    def updated(gradient: jax.Array) -> jax.Array:
        return update_of(d, state._replace(grad=unravel(gradient)))

    update, change = jax.jvp(updated, (gradient,), (jnp.ones_like(gradient),))
    return update, -change


def update_of(d: Descent, state: State) -> jax.Array:
    """Return the same from a state of a plain descent."""
    updates, _ = d.optimizer.update(
        state.grad, state.opt_state, state.params, **extra_args(d, state)
    )
    return real_vector(updates)[0]


def remembers(opt_state: Any) -> bool:
    """Return whether an optimizer carries more than counts from step to step."""
    return any(map(is_floating, jax.tree.leaves(opt_state)))


def asks_for_gradient(d: Descent) -> bool:
    """Return whether a run stops by a tolerance of its gradient."""
    return d.stop is not None and d.stop.gradient_tolerance(d.params) is not None


def is_noisy(batches: Batches | HostBatches | None) -> bool:
    """Return whether a step may see other examples than all, each once."""
    if not isinstance(batches, Batches):
        return False
    of_some = batches.plan.count is not None or batches.size < batches.examples
    return of_some or batches.order is Order.REPLACED
