"""How much a better-known start helps: final-state sensitivity."""

from typing import Any

import numpy as np

from gdjax.basins.measures.codes import checked_map
from gdjax.basins.measures.consistency import inconsistency
from gdjax.basins.measures.intervals import NORMAL_95
from gdjax.basins.measures.scaling import LARGEST_ERROR, Exponent, power_law, scales
from gdjax.basins.measures.windows import grown


def uncertainty_exponent(labels: Any) -> Exponent:
    """Return the exponent with which the share of uncertain starts falls with their error.

    A start that is known up to a box of side eps is uncertain where the box has starts of more
    than one basin. The share f(eps) of such boxes, over all places of the map, is that of the
    starts within about eps of the boundary, and follows f(eps) ~ eps^alpha. With a smooth boundary
    alpha = 1; in general alpha = d - D, with D the `boundary_dimension`, so that with a small alpha
    even a much better-known start is hardly more certain.

    Boxes that reach over the edge of the map are counted in two ways, as if the map were mirrored
    there, which slights a boundary along the edge, and as if nothing lay beyond, which exaggerates
    one across it: the value lies midway, and half the difference is in the error. So is how much
    the exponent depends on the range of eps that is looked at, on the direction, and on the number
    of starts: that of the graph of a rough function does so, as its share is a sum of two powers.

    Starts labelled -1 are left out: a box is uncertain where its other starts disagree. To count
    them as a basin, pass `labels + 1`. Axes of length 1 are left out as well.

    Args:
      labels: integer array of any shape, over a grid of starts.

    Returns:
      alpha with its error, 95% interval and fit: `fit.window` is the range of eps, in steps of the
      grid, over which it was fitted, and where `fit.is_good` is false the share follows no power
      law there, or not the same in every direction, or the map is too small to tell (below 64
      starts a side). NaN where there is no boundary.

    Raises:
      TypeError: the labels are not integers.
      ValueError: there are none.

    References:
      Grebogi, McDonald, Ott, Yorke, Final state sensitivity: an obstruction to predictability,
      1983.

    >>> import gdjax
    >>> x = np.linspace(-1, 1, 256)
    >>> circle = (np.hypot(x[:, None], x[None, :]) < 0.7).astype(int)
    >>> exponent = gdjax.basins.uncertainty_exponent(circle)
    >>> print(f"{exponent.value:.2f} {exponent.fit.is_good}")
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
    unsure = inconsistency(found, scale, within, fit.slope)
    error = float(np.sqrt(np.sum(np.square([fit.error, edge, *unsure]))))
    half, is_good = NORMAL_95 * error, fit.is_good and error <= LARGEST_ERROR
    return Exponent(
        fit.slope, error, fit.slope - half, fit.slope + half, fit._replace(is_good=is_good)
    )


def _covered(found: np.ndarray, scale: np.ndarray, beyond: Any) -> np.ndarray:
    """Return for each scale the volume of the places of boxes of more than one label, in maps."""
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
