"""Swept batch sizes, met at the door: they are known before their lanes run."""

from functools import lru_cache
from typing import Any

import jax
import numpy as np

from gdjax.batches import Batches
from gdjax.descent.cost import examples_of
from gdjax.sweeps.lanes import Lane, Lanes
from gdjax.trees import PyTree

TOGETHER = 2**20  # lanes


def check_sizes(lanes: Lanes) -> None:
    """Raise where a lane has batches of a size that none can have."""
    most = _batches(lanes.descent(0)).size
    for first in range(0, lanes.count, TOGETHER):
        sizes, _ = _seen(lanes, first)
        if (wrong := np.flatnonzero((sizes < 1) | (sizes > most))).size:
            place = np.unravel_index(first + wrong[0], lanes.shape)
            where = ", ".join(f"{dim} {i}" for dim, i in zip(lanes.dims, place))
            raise ValueError(
                f"size: expected from 1 to the {most} of most, got {sizes[wrong[0]]} at {where}"
            )


def examples(lanes: Lanes) -> np.ndarray:
    """Return the examples of an update of each lane [*shape], where the batch size is swept."""
    parts = [_seen(lanes, first)[1] for first in range(0, lanes.count, TOGETHER)]
    return np.concatenate(parts).reshape(lanes.shape)


def _seen(lanes: Lanes, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the batch size, and the examples of an update, of some lanes from one on."""
    numbers = np.arange(first, min(first + TOGETHER, lanes.count), dtype=np.int32)
    places = [index.astype(np.int32) for index in np.unravel_index(numbers, lanes.shape)]
    size, seen = _program(lanes.lane)(lanes.sources, lanes.key, numbers, places)
    return np.asarray(size), np.asarray(seen)


@lru_cache(maxsize=32)
def _program(lane: Lane) -> Any:
    def of_lane(sources: PyTree, key: Any, number: Any, place: list[Any]) -> tuple[Any, Any]:
        batches = _batches(lane.descent(lane.values(sources, place), number, key))
        return batches.plan.count, examples_of(batches)

    return jax.jit(jax.vmap(of_lane, in_axes=(None, None, 0, 0)))


def _batches(d: Any) -> Batches:
    assert isinstance(d.batches, Batches)
    return d.batches
