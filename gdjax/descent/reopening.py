"""A run that goes on from where another one stopped."""

from typing import Any

import jax.numpy as jnp

from gdjax.descent.description import Descent
from gdjax.descent.state import State, Status
from gdjax.descent.stepping import (
    arguments,
    check_state,
    condition,
    finite_state,
    folds,
    limit,
    require_same_types,
    same_types,
    status,
)
from gdjax.losses import value_and_ascent


def reopened(d: Descent, state: Any) -> State:
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
