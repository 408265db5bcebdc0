"""Swept batch sizes, met at the door: they are known before their lanes run."""

from functools import lru_cache
from typing import Any

import jax
import numpy as np

from gdjax.batches import Batches
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane, Lanes
from gdjax.trees import PyTree

TOGETHER = 2**20  # lanes


def check_sizes(lanes: Lanes) -> None:
    """Raise where a lane has batches of a size that none can have."""
    most = _batches(lanes.descent(0)).size
    for first in range(0, lanes.count, TOGETHER):
        size = _some(lanes, first)
        if (wrong := np.flatnonzero((size < 1) | (size > most))).size:
            place = np.unravel_index(first + wrong[0], lanes.shape)
            where = ", ".join(f"{dim} {i}" for dim, i in zip(lanes.dims, place))
            raise ValueError(
                f"size: expected from 1 to the {most} of most, got {size[wrong[0]]} at {where}"
            )


def sizes(lanes: Lanes) -> np.ndarray:
    """Return the batch size of each lane [*shape], where it is swept."""
    parts = [_some(lanes, first) for first in range(0, lanes.count, TOGETHER)]
    return np.concatenate(parts).reshape(lanes.shape)


def _some(lanes: Lanes, first: int) -> np.ndarray:
    """Return the batch sizes of some lanes from one on."""
    numbers = np.arange(first, min(first + TOGETHER, lanes.count), dtype=np.int32)
    places = [index.astype(np.int32) for index in np.unravel_index(numbers, lanes.shape)]
    return np.asarray(_program(lanes.lane)(lanes.sources, lanes.key, numbers, places))


@lru_cache(maxsize=32)
def _program(lane: Lane) -> Any:
    def of_lane(sources: PyTree, key: Any, number: Any, place: list[Any]) -> Any:
        return _batches(lane.descent(lane.values(sources, place), number, key)).plan.count

    return ConstantsApart(jax.vmap(of_lane, in_axes=(None, None, 0, 0)))


def _batches(d: Any) -> Batches:
    assert isinstance(d.batches, Batches)
    return d.batches
