"""The stationary points of a loss that is a sum of one function of each coordinate."""

import itertools
from collections.abc import Sequence

from gdjax.landscapes.landscape import Points, points

MOST_LISTED = 1000


def stationary_points(
    minima: Sequence[float], maxima: Sequence[float], dimension: int
) -> tuple[Points, Points, Points]:
    """Combine the stationary points of one coordinate into those of all coordinates.

    All combinations are listed while there are at most 1000 of them. Beyond, only those whose
    coordinates are all equal are: they are minima and maxima, and no saddle is among them.

    Args:
        minima: The minima along one coordinate, the lowest first.
        maxima: The maxima along one coordinate.
        dimension: The number of coordinates.

    Returns:
        The minima, saddles and maxima, each float64 [k, dimension], the lowest minimum first.

    Example:
        >>> [len(kind) for kind in stationary_points((-1.0, 1.0), (0.0,), 2)]
        [4, 4, 1]
        >>> [len(kind) for kind in stationary_points((-1.0, 1.0), (0.0,), 20)]
        [2, 0, 1]
    """
    along_one = (*minima, *maxima)
    if len(along_one) ** dimension > MOST_LISTED:
        return (
            points([[x] * dimension for x in minima], dimension),
            points([], dimension),
            points([[x] * dimension for x in maxima], dimension),
        )
    kinds: tuple[list[tuple[float, ...]], ...] = ([], [], [])
    for point in itertools.product(along_one, repeat=dimension):
        falling = sum(x in maxima for x in point)
        kinds[0 if falling == 0 else 2 if falling == dimension else 1].append(point)
    lowest, saddles, highest = (points(kind, dimension) for kind in kinds)
    return lowest, saddles, highest
