"""Whether all basins share one boundary: the property of Wada."""

from typing import Any, NamedTuple

import numpy as np

from gdjax import checks
from gdjax.basins.measures.codes import checked_map, counted
from gdjax.basins.measures.windows import grown

WORD = 64  # labels that one pass over the map takes
FEWEST = 8  # boxes along the shortest side, for a verdict


class Wada(NamedTuple):
    """How far all basins share one boundary."""

    # Three basins at least, and every part of the boundary is within `radius` of each, which is so
    # for any map if the boxes are not small: at least eight have to fit along its shortest side.
    is_wada: bool
    value: float  # share of the boundary within `radius` of every basin; NaN without a boundary
    radius: int  # steps of the grid
    radii: np.ndarray  # [radii] 1, 2, 4, ... up to `radius`
    shared: np.ndarray  # [radii] share of the boundary within each radius of every basin
    basins: int


def wada(labels: Any, radius: int | None = None) -> Wada:
    """Test whether the basins have the property of Wada: one boundary common to all of them.

    Merge all basins but one, and the boundary of what is left must be the same whichever that one
    is. On a grid it is the same up to a fattening by a few steps: with ∂_i the boundary between
    basin i and the union of the others, every point of each ∂_j must be within `radius` of each
    ∂_i. A point of any ∂_j has two basins beside it, so that it is near ∂_i where it is near
    basin i: each box of 2 `radius` + 1 starts a side around a boundary start must hold them all. A
    boundary start has more than one label in the box of 3 starts a side around it.

    Starts labelled -1 are left out: they are no basin, and are no boundary of one. Nor are axes of
    length 1 counted. The starts closer than a radius to the edge of the map are not judged.

    Args:
      labels: integer array of any shape, over a grid of starts.
      radius: how far the boundaries are fattened, in steps of the grid; a thirty-second of the
        shortest side if left out, and at least 1. Basins that only meet in points have a share
        that grows in proportion to it.

    Returns:
      The verdict, up to the resolution of the map, and the share that is common at each radius.

    Raises:
      TypeError: the labels are not integers, or the radius is no whole number.
      ValueError: there are none, or the radius is below 1.

    References:
      Daza, Wagemakers, Sanjuán, Ascertaining when a basin is Wada: the merging method, 2018.

    >>> import gdjax
    >>> fine = gdjax.basins.wada(np.arange(64 * 64).reshape(64, 64) % 3)
    >>> coarse = gdjax.basins.wada(np.repeat([[0, 1, 2]], 21, axis=1))
    >>> fine.is_wada, coarse.is_wada, coarse.value
    (True, False, 0.0)
    """
    found = checked_map(labels)
    shortest = min(found.shape)
    if radius is None:
        radius = max(shortest // 32, 1)
    radius = checks.whole_number("radius", radius, 1)
    label = counted(found)[0]
    label = label[label > 0]
    radii = [1 << power for power in range(radius.bit_length())]
    radii = np.array(sorted({*radii, radius}))
    holds_all = [np.ones((), bool)] * len(radii)
    mixed = _mixed(found)
    for first in range(0, len(label), WORD):
        for i, over in enumerate(_present(found, label[first : first + WORD], radii)):
            holds_all[i] = holds_all[i] & over
    shared = np.array([_share(mixed, over, r) for over, r in zip(holds_all, radii)])
    value = float(shared[-1])
    is_small = FEWEST * (2 * radius + 1) <= shortest
    return Wada(
        len(label) >= 3 and is_small and value == 1, value, radius, radii, shared, len(label)
    )


def _mixed(found: np.ndarray) -> np.ndarray:
    """Return for the box of 3 starts a side around each start whether its labels differ."""
    lowest, highest = np.where(found == 0, np.iinfo(found.dtype).max, found), found
    for _ in range(2):
        lowest, highest = grown(lowest, np.minimum, 1), grown(highest, np.maximum, 1)
    return highest > lowest


def _present(found: np.ndarray, label: np.ndarray, radii: np.ndarray) -> Any:
    """Yield for each radius whether the box around each start holds all of these labels."""
    bits = np.min_scalar_type((1 << len(label)) - 1)
    all_bits = bits.type((1 << len(label)) - 1)
    table = np.zeros(int(label[-1]) + 1, bits)
    table[label] = [1 << i for i in range(len(label))]
    over = table[np.minimum(found, label[-1])]
    over[found > label[-1]] = 0
    width = 1
    for r in radii:
        while width < 2 * r + 1 and min(over.shape) > 0:
            by = int(min(width, 2 * r + 1 - width))
            over, width = grown(over, np.bitwise_or, by), width + by
        yield over == all_bits


def _share(mixed: np.ndarray, holds_all: np.ndarray, radius: int) -> float:
    """Return the share of the boundary starts whose boxes, within the map, hold all labels."""
    if holds_all.ndim == 0:
        return float("nan")
    inner = mixed[tuple(slice(radius - 1, n - radius + 1) for n in mixed.shape)]
    boundary = np.count_nonzero(inner)
    return float(np.count_nonzero(inner & holds_all) / boundary) if boundary else float("nan")
