"""Whether an exponent is the same in every direction, and at every resolution.

A sum of powers, s^a + c s^b, is as good as straight over three octaves, however far its slope is
from a: the residuals do not tell. Two other views of the map do. Where a boundary scales alike in
all directions, segments follow the law of boxes whichever way they go, while on the graph of a
rough function they follow its oscillation one way and its length the other. And of a boundary that
is rougher than the starts resolve, half of the starts see less.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np

from gdjax.basins.measures.windows import grown

RARE = 0.01  # of the boxes with boundary: fewer segments tell nothing
SLOWEST = 1 / 3  # power of the resolution with which what is missing falls, at least


def inconsistency(
    found: np.ndarray, scale: np.ndarray, within: np.ndarray, slope: float
) -> tuple[float, float]:
    """Return how unsure the slope is by how it differs between directions, and resolutions.

    By direction it is the largest difference from the slope along an axis or a diagonal. By
    resolution it is the difference of the slope at half of the starts by 2^slope - 1, the sum of
    the differences still to come as the starts are doubled again and again, where what is missing
    falls as their distance to the power of the slope: so it does for the graph of a rough function.

    Args:
      found: codes of labels, [...].
      scale: int [scales], from 1.
      within: bool [scales], those over which the slope was fitted.
      slope: the exponent.
    """
    boxes, by_direction = _share(found, scale), 0.0
    for turned, way in _ways(found):
        along = _share(turned, scale, [way])
        # A step along a diagonal is √2 long, which is about what is between two scales.
        seen = within if len(way) == 1 else np.append(within[1:], False)
        if (along > RARE * boxes)[seen].all():
            by_direction = max(by_direction, abs(_slope(scale, along, seen) - slope))
    even = scale % 2 == 0
    half = np.zeros(len(scale))
    half[even] = _share(found[(slice(None, None, 2),) * found.ndim], scale[even] // 2)
    seen = within & (half > 0)
    if np.count_nonzero(seen) < 2:
        return by_direction, 0.0
    lost = _slope(scale, half, seen) - _slope(scale, boxes, seen)
    return by_direction, abs(lost) / (2 ** max(slope, SLOWEST) - 1)


def _ways(found: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    """Yield the map, turned over for every second diagonal, with the axes of each direction."""
    if found.ndim > 1:
        yield from ((found, (axis,)) for axis in range(found.ndim))
    for pair in combinations(range(found.ndim), 2):
        yield found, pair
        yield np.flip(found, pair[0]), pair


def _share(
    found: np.ndarray, scale: np.ndarray, ways: Iterable[tuple[int, ...]] | None = None
) -> np.ndarray:
    """Return the share of the boxes of each side, or of segments, that have boundary."""
    highest, lowest = found, np.where(found == 0, np.iinfo(found.dtype).max, found)
    side, shares = 0, []
    for s in scale:
        highest = grown(highest, np.maximum, s - side, ways)
        lowest = grown(lowest, np.minimum, s - side, ways)
        side = s
        shares.append(np.count_nonzero(highest > lowest) / highest.size)
    return np.array(shares)


def _slope(scale: np.ndarray, share: np.ndarray, at: np.ndarray) -> float:
    return float(np.polyfit(np.log(scale[at]), np.log(share[at]), 1)[0])
