"""How jagged the border is: its box-counting dimension."""

from typing import Any

import numpy as np

from gdjax.basins.measures.codes import checked_map
from gdjax.basins.measures.intervals import NORMAL_95
from gdjax.basins.measures.scaling import Exponent, power_law, scales
from gdjax.basins.measures.windows import grown


def boundary_dimension(labels: Any) -> Exponent:
    """Return the box-counting dimension of the boundaries between basins.

    A box of side s, in steps of the grid, holds boundary where its (s + 1)^d starts have more than
    one label. The number of such boxes N(s), averaged over all places of a grid of boxes, follows
    N(s) ~ s^-D, so that the share of the map that they cover is (s / n)^d N(s) ~ s^(d - D), with n
    the side of the map. Boxes that reach over its edge are counted in two ways, as if the map were
    mirrored there, which slights a boundary along the edge, and as if nothing lay beyond, which
    exaggerates one across it: the value lies midway, and half the difference is in the error.

    Starts labelled -1 are left out: a box holds boundary where its other starts disagree. To count
    them as a basin, pass `labels + 1`. Axes of length 1 are left out as well.

    Args:
      labels: integer array of any shape, over a grid of starts.

    Returns:
      D with its error, 95% interval and fit: `fit.window` is the range of s over which it was
      fitted, and where `fit.is_good` is false the boundary follows no power law there, or the map
      is too small to tell (below 64 starts a side). NaN where there is no boundary.

    Raises:
      TypeError: the labels are not integers.
      ValueError: there are none.

    References:
      Falconer, Fractal geometry, 2014, chapters 2 and 3.

    >>> import gdjax
    >>> x = np.linspace(-1, 1, 256)
    >>> circle = (np.hypot(x[:, None], x[None, :]) < 0.7).astype(int)
    >>> dimension = gdjax.basins.boundary_dimension(circle)
    >>> print(f"{dimension.value:.2f} {dimension.fit.is_good}")
    1.00 True
    """
    found = checked_map(labels)
    scale = scales(min(found.shape))
    mirrored = _covered(found, scale, "symmetric")
    alone = _covered(found, scale, "constant")
    fit = power_law(scale, np.sqrt(mirrored * alone))
    within = (scale >= fit.window[0]) & (scale <= fit.window[1])
    if not within.any():
        return Exponent(np.nan, np.nan, np.nan, np.nan, fit)
    edge = np.polyfit(np.log(scale[within]), np.log(alone[within] / mirrored[within]), 1)[0] / 2
    value, error = found.ndim - fit.slope, float(np.hypot(fit.error, edge))
    half = NORMAL_95 * error
    return Exponent(value, error, value - half, value + half, fit)


def _covered(found: np.ndarray, scale: np.ndarray, beyond: Any) -> np.ndarray:
    """Return for each scale the volume of the places of boxes with boundary, in maps."""
    margin = int(scale[-1]) + 1
    highest = np.pad(found, margin, mode=beyond)
    lowest = np.where(highest == 0, np.iinfo(found.dtype).max, highest)
    side, shares = 0, []
    for s in scale:
        highest = grown(highest, np.maximum, s - side)
        lowest = grown(lowest, np.minimum, s - side)
        side = s
        # Mirrored, a box whose centre lies beyond is one whose centre lies within.
        first, more = (margin - s // 2, 0) if beyond == "symmetric" else (margin - s, s)
        inside = tuple(slice(first, first + n + more) for n in found.shape)
        shares.append(np.count_nonzero(highest[inside] > lowest[inside]) / found.size)
    return np.array(shares)
