"""How much a better-known start helps: final-state sensitivity."""

from typing import Any

import numpy as np

from gdjax.basins.measures.codes import checked_map
from gdjax.basins.measures.intervals import NORMAL_95
from gdjax.basins.measures.scaling import Exponent, power_law, scales


def uncertainty_exponent(labels: Any) -> Exponent:
    """Return the exponent with which the share of uncertain starts falls with their error.

    A start is uncertain to eps where, moved by eps along an axis one way or the other, it leads
    elsewhere; f(eps), the mean of their share over the axes, follows f(eps) ~ eps^alpha. With a
    smooth boundary alpha = 1; in general alpha = d - D, with D the boundary's dimension, so that
    with a small alpha even a much better-known start is hardly more certain. At its edges the map
    is mirrored. Moves step over basins that are thinner than they are long: where basins have
    hardly any interior, as sets of measure zero, alpha comes out too small, by more than its error.

    Starts labelled -1 are left out, and so is a move to one. To count them as a basin, pass
    `labels + 1`. Axes of length 1 are left out as well.

    Args:
      labels: integer array of any shape, over a grid of starts.

    Returns:
      alpha with its error, 95% interval and fit: `fit.window` is the range of eps, in steps of the
      grid, over which it was fitted, and where `fit.is_good` is false the share follows no power
      law there, or the map is too small to tell (below 64 starts a side). NaN where there is no
      boundary.

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
    along = [_uncertain(np.moveaxis(found, axis, 0), scale) for axis in range(found.ndim)]
    fit = power_law(scale, np.mean(along, axis=0))
    half = NORMAL_95 * fit.error
    return Exponent(fit.slope, fit.error, fit.slope - half, fit.slope + half, fit)


def _uncertain(found: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the share of uncertain starts for each scale, along the first axis."""
    margin, n = int(scale[-1]), len(found)
    padded = np.pad(found, [(margin, margin)] + [(0, 0)] * (found.ndim - 1), mode="symmetric")
    labelled = np.count_nonzero(found)
    shares = []
    for s in scale:
        uncertain = np.zeros(found.shape, bool)
        for moved in (padded[margin - s :][:n], padded[margin + s :][:n]):
            uncertain |= (moved != found) & (moved != 0)
        uncertain &= found != 0
        shares.append(np.count_nonzero(uncertain) / max(labelled, 1))
    return np.array(shares)
