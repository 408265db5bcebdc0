"""The diagnosis of all lanes of a sweep.

A glance suffices for most lanes, and costs little where it is vectorised over them: least where a
lane ends, and there the sweep takes it if there are few parameters. The others are packed together
and looked at more closely; only those that this does not settle go on.
"""

import jax
import numpy as np

from gdjax.diagnosis import Diagnosis
from gdjax.diagnosis.brief import opened
from gdjax.diagnosis.glance import of_minimum
from gdjax.sweeps.closer import look_closer
from gdjax.sweeps.glances import glances
from gdjax.sweeps.lanes import Lanes
from gdjax.sweeps.turns import Outcome
from gdjax.sweeps.watch import Watched, end_of
from gdjax.trees import PyTree


def diagnosed(
    lanes: Lanes, shared: tuple, outcome: Outcome, watched: Watched, workers: int
) -> Diagnosis:
    """Return the diagnosis of each lane, numpy arrays of the sweep's shape.

    `shared` are the sources and the key of the lanes, on the device that looks at them.
    """
    rank, count = len(lanes.shape), lanes.count

    def in_line(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[rank:]), tree)

    glance = watched.glance
    peak = watched.peak if glance is None else glance.rest
    ends = in_line(end_of(outcome, watched.opt_state, peak))
    glance = in_line(glance) or glances(lanes, shared, ends, workers)
    settled, minimum = opened(glance, outcome.grad_norm.reshape(count))
    left = np.flatnonzero(np.broadcast_to(~settled, (count,)))
    diagnosis = jax.tree.map(
        lambda leaf: _spread(leaf, count, writable=len(left) > 0), of_minimum(minimum)
    )
    if len(left):
        look_closer(lanes, shared, ends, left, diagnosis, workers)
    return jax.tree.map(lambda leaf: leaf.reshape(lanes.shape), diagnosis)


def _spread(leaf: np.ndarray, count: int, writable: bool) -> np.ndarray:
    """Return an array [count]; what is the same for all lanes is one number, unless `writable`."""
    if leaf.shape:
        return leaf
    if not writable:
        return np.broadcast_to(leaf, (count,))
    # The system gives zeros for nothing.
    return np.full(count, leaf) if leaf else np.zeros(count, leaf.dtype)
