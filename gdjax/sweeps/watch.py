"""What a sweep remembers of its lanes for their diagnosis."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdjax import record
from gdjax.descent import Descent, State
from gdjax.sweeps.collect import Kept
from gdjax.sweeps.lanes import Lane
from gdjax.sweeps.turns import Outcome


class Watched(NamedTuple):
    """Of each lane, beside its outcome."""

    peak: jax.Array  # [] largest loss on the way
    opt_state: Any  # at the end


@dataclass(frozen=True)
class _WatchedFunction:
    """A lane function whose descents record what a diagnosis needs as well; known by its value."""

    function: Callable[..., Descent]

    def __call__(self, **values: Any) -> Any:
        d = self.function(**values)
        # What is no descent is met where all are looked at.
        return replace(d, record=(d.record, _watch)) if isinstance(d, Descent) else d


def watched(lane: Lane) -> Lane:
    """Return the lane with descents that record what a diagnosis needs as well."""
    return replace(lane, function=_WatchedFunction(lane.function))


def watched_outcome(outcome: Outcome) -> Kept:
    """Return what a sweep keeps of a watched lane."""
    own, seen = outcome.record
    return Kept(outcome._replace(record=own), seen)


def _first(state: State) -> Watched:
    return Watched(state.loss, state.opt_state)


def _next(seen: Watched, state: State) -> Watched:
    return Watched(jnp.maximum(seen.peak, state.loss), state.opt_state)


_watch = record.fold(_first, _next)
