"""What the searches along lines of a sweep's lanes took: they are run once more to be counted."""

from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax import lax

from gdjax.descent.cost import Trials, repeated, trials_of
from gdjax.descent.description import canonical
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane, Lanes, place_of
from gdjax.trees import PyTree

ABREAST = 64  # lanes


def trials(lanes: Lanes, steps: np.ndarray) -> Trials:
    """Return what the searches of each lane evaluated in its steps, arrays [*shape]."""
    numbers = np.arange(lanes.count, dtype=np.int32)
    program = _program(lanes.lane, lanes.shape)
    counts = program(lanes.sources, lanes.key, (numbers, steps.ravel()))
    return jax.tree.map(lambda count: np.asarray(count).reshape(lanes.shape), counts)


@lru_cache(maxsize=32)
def _program(lane: Lane, shape: tuple[int, ...]) -> Any:
    def of_lanes(sources: PyTree, key: Any, lanes: Any) -> Trials:
        def of_lane(number_and_steps: Any) -> Trials:
            number, steps = number_and_steps
            d = lane.descent(lane.values(sources, place_of(number, shape)), number, key)
            return trials_of(canonical(repeated(d, steps)))

        return lax.map(of_lane, lanes, batch_size=ABREAST)

    return ConstantsApart(of_lanes)
