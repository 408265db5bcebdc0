"""One map of the runs of a sweep and of other ends of its lanes, so that both use one table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from gdjax.basins.attractors import Attractors
from gdjax.basins.flow import FlowEnds
from gdjax.basins.map_basins import map_basins
from gdjax.descent import Descent, Status
from gdjax.sweeps import Runs
from gdjax.sweeps.axes.axis import Axis
from gdjax.sweeps.lanes import Lane, Lanes, place_of
from gdjax.trees import PyTree


@dataclass(frozen=True)
class _AtLane:
    """A lane function of what another one gets."""

    lane: Lane

    def __call__(self, end: PyTree) -> Descent:
        return self.lane.descent(end["values"], end["number"], end["key"])


@dataclass(frozen=True)
class _OfLane:
    """How an end gets the values of the lane that it belongs to."""

    lane: Lane
    shape: tuple[int, ...]

    def __call__(self, source: PyTree, place: Sequence[Any]) -> PyTree:
        number = source["number"][place[0]]
        key = source["key"]
        if key is not None:
            key = jax.numpy.broadcast_to(key, np.shape(number))
        values = self.lane.values(source["sources"], place_of(number, self.shape))
        return {"values": values, "number": number, "key": key}


def joint_map(
    runs: Runs, numbers: np.ndarray, ends: Sequence[FlowEnds], tol: float
) -> tuple[np.ndarray, list[np.ndarray], Attractors]:
    """Label the ends of the runs, and further ends that belong to some of their lanes.

    Args:
      runs: from `gdjax.sweep`.
      numbers: [starts] the lanes that the ends belong to.
      ends: each [starts, ...].
      tol: as in `map_basins`.

    Returns:
      The labels of the runs, numbered as `map_basins` numbers minima and valleys; the labels of the
      ends, -1 where they have not arrived at any; and the table of both, with those that no run
      reached last.
    """
    own = FlowEnds(runs.params, runs.loss, runs.grad_norm, runs.steps, runs.status)
    rank, count = len(runs.shape), runs.lanes.count
    own = jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[rank:]), own)
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), own, *ends)
    lanes = _lanes(runs.lanes, np.concatenate([np.arange(count), *[numbers] * len(ends)]))
    joint = replace(runs, **joined._asdict(), record=None, lanes=lanes, diagnosis=None)
    found = map_basins(joint, tol).minima
    labels = np.where(joined.status == Status.CONVERGED, found.labels, -1)
    labels, attractors = _runs_first(labels, count, found.attractors)
    of_ends = np.split(labels[count:], len(ends))
    return labels[:count].reshape(runs.shape), of_ends, attractors


def _lanes(lanes: Lanes, numbers: np.ndarray) -> Lanes:
    source = {"sources": lanes.sources, "number": numbers.astype(np.int32), "key": lanes.key}
    gather = _OfLane(lanes.lane, lanes.shape)
    coords = {"end": ("end", np.arange(len(numbers)))}
    axis = Axis(("end",), (len(numbers),), coords, source, gather)
    return Lanes(Lane(_AtLane(lanes.lane), False, (("end", 1, gather),)), {"end": axis}, None)


def _runs_first(
    labels: np.ndarray, count: int, attractors: Attractors
) -> tuple[np.ndarray, Attractors]:
    """Return labels in which the attractors that a run reached come first, and their table."""
    reached = np.zeros(len(attractors.loss), bool)
    reached[labels[:count][labels[:count] >= 0]] = True
    order = np.argsort(~reached, kind="stable")
    new = np.append(np.argsort(order), -1).astype(np.int32)  # the last is that of -1
    labels = new[labels]
    points = jax.tree.map(lambda leaf: leaf[order], attractors._replace(orbits=None))
    table = points._replace(orbits=attractors.orbits)
    size = np.bincount(labels[:count][labels[:count] >= 0], minlength=len(order))
    return labels, table._replace(size=size)
