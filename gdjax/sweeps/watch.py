"""What a sweep remembers of its lanes for their diagnosis."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdjax import record
from gdjax.curvature.extremes import real_size
from gdjax.curvature.small import FUSED
from gdjax.descent import Descent, State
from gdjax.diagnosis.brief import Brief, brief
from gdjax.diagnosis.diagnose import at_a_glance
from gdjax.diagnosis.end import End
from gdjax.sweeps.collect import Kept
from gdjax.sweeps.lanes import Lane
from gdjax.sweeps.turns import Outcome


class Seen(NamedTuple):
    """On the way of a lane."""

    peak: jax.Array  # [] largest loss so far
    opt_state: Any


class Watched(NamedTuple):
    """Of each lane, beside its outcome."""

    opt_state: Any  # its typed keys as numbers, once it is kept
    peak: jax.Array | None  # [] largest loss; None where it is the rest of the glance
    glance: Brief | None  # at the end, where one costs little


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


def watched_outcome(d: Descent, outcome: Outcome) -> Kept:
    """Return what a sweep keeps of a watched lane."""
    own, seen = outcome.record
    outcome = outcome._replace(record=own)
    if real_size(d.params) > FUSED:
        return Kept(outcome, Watched(seen.opt_state, seen.peak, None))
    # What the lane computes of its last point is at hand, and so the glance costs least here.
    end = end_of(outcome, seen.opt_state, seen.peak)
    glance = brief(d, *at_a_glance(d, end), otherwise=seen.peak)
    return Kept(outcome, Watched(seen.opt_state, None, glance))


def end_of(outcome: Outcome, opt_state: Any, peak: Any) -> End:
    """Return the end of a lane, or the ends of many."""
    return End(outcome.params, opt_state, outcome.steps, outcome.status, peak)


def _first(state: State) -> Seen:
    return Seen(state.loss, state.opt_state)


def _next(seen: Seen, state: State) -> Seen:
    return Seen(jnp.maximum(seen.peak, state.loss), state.opt_state)


_watch = record.fold(_first, _next)
