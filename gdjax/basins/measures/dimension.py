"""How jagged the border is: its box-counting dimension."""

from typing import Any

import numpy as np

from gdjax.basins.measures.scaling import Exponent
from gdjax.basins.measures.uncertainty import uncertainty_exponent


def boundary_dimension(labels: Any) -> Exponent:
    """Return the box-counting dimension of the boundaries between basins.

    A box of side s, in steps of the grid, holds boundary where its (s + 1)^d starts have more than
    one label. The number of such boxes N(s), averaged over all places of a grid of boxes, follows
    N(s) ~ s^-D, so that the share of the map that they cover is (s / n)^d N(s) ~ s^(d - D), with n
    the side of the map: D = d - alpha, with alpha the `uncertainty_exponent`. Axes of length 1 do
    not count as dimensions.

    Starts labelled -1 are left out: a box holds boundary where its other starts disagree. To count
    them as a basin, pass `labels + 1`.

    Args:
      labels: integer array of any shape, over a grid of starts.

    Returns:
      D with its error, 95% interval and fit: `fit.window` is the range of s over which it was
      fitted, and where `fit.is_good` is false the boundary follows no power law there, or not the
      same in every direction, or the map is too small to tell (below 64 starts a side). NaN where
      there is no boundary.

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
    alpha = uncertainty_exponent(labels)
    dim = max(sum(n > 1 for n in np.shape(labels)), 1)
    return Exponent(dim - alpha.value, alpha.error, dim - alpha.high, dim - alpha.low, alpha.fit)
