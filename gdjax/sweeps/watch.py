"""What a sweep keeps of its lanes for their diagnosis."""

from typing import Any, NamedTuple

import jax

from gdjax.curvature.extremes import real_size
from gdjax.curvature.small import FUSED
from gdjax.descent import Descent
from gdjax.diagnosis.brief import Brief, brief
from gdjax.diagnosis.diagnose import at_a_glance
from gdjax.diagnosis.end import End
from gdjax.sweeps.collect import Kept
from gdjax.sweeps.turns import LaneState, Outcome


class Watched(NamedTuple):
    """Of each lane, beside its outcome."""

    opt_state: Any  # its typed keys as numbers, once it is kept
    peak: jax.Array | None  # [] largest loss; None where it is the rest of the glance
    glance: Brief | None  # at the end, where one costs little


def watched_outcome(d: Descent, outcome: Outcome, lane: LaneState) -> Kept:
    """Return what a sweep keeps of a watched lane."""
    assert lane.noted is not None
    opt_state, peak = lane.noted.opt_state(lane.opt_state), lane.noted.peak
    if real_size(d.params) > FUSED:
        return Kept(outcome, Watched(opt_state, peak, None))
    # What the lane computes of its last point is at hand, and so the glance costs least here.
    glance = brief(d, *at_a_glance(d, end_of(outcome, opt_state, peak)), otherwise=peak)
    return Kept(outcome, Watched(opt_state, None, glance))


def end_of(outcome: Outcome, opt_state: Any, peak: Any) -> End:
    """Return the end of a lane, or the ends of many."""
    return End(outcome.params, opt_state, outcome.steps, outcome.status, peak)
