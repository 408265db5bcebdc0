"""Power laws in the scale: fitted over the window in which they hold best."""

from typing import NamedTuple

import numpy as np

LEAST_POINTS = 5
LEAST_SPAN = 7.9  # of the scales in a window: three octaves, give or take rounding
ROUNDING = 0.02  # of a logarithm: what a finite map leaves unsure of a share, however smooth
LARGEST_ERROR = 0.1


class PowerLaw(NamedTuple):
    """A fit of shares ~ scale^slope, by least squares of the logarithms within a window."""

    scale: np.ndarray  # [scales] in starts, or cells, of the grid
    share: np.ndarray  # [scales]
    slope: float  # NaN where there is no window
    error: float  # from the residuals, and from how the slope differs within and between windows
    window: tuple[float, float]  # smallest and largest scale that are fitted
    is_good: bool  # three octaves at least, and an error of at most 0.1, also of the exponent


class Exponent(NamedTuple):
    """An exponent with its standard error; NaN where the map has no boundary or is too small."""

    value: float
    error: float
    low: float  # bounds of the 95% interval
    high: float
    fit: PowerLaw


def scales(shortest: int) -> np.ndarray:
    """Return scales from 1 to an eighth of a map's shortest side, about √2 apart.

    >>> scales(64).tolist()
    [1, 2, 3, 4, 6, 8]
    """
    largest = max(shortest // 8, 1)
    steps = np.arange(int(2 * np.log2(largest)) + 1)
    return np.unique(np.round(2 ** (steps / 2)).astype(int))


def power_law(scale: np.ndarray, share: np.ndarray) -> PowerLaw:
    """Return the fit over the window, of those three octaves wide at least, of least error.

    How the slopes differ from window to window is part of the error: the least error of many is
    too small, where the shares ripple around a power law, as those of a self-similar set do. With
    e_w the error within a window, it is the root of the mean of e_w² + (slope_w - slope)², weighted
    by 1 / e_w², so that windows in which no power law holds count for little.

    >>> law = power_law(np.array([1, 2, 4, 8, 16]), np.array([0.01, 0.02, 0.04, 0.08, 0.16]))
    >>> round(law.slope, 6), law.window, law.is_good
    (1.0, (1.0, 16.0), True)
    """
    here = np.flatnonzero(share > 0)
    x, y = np.log(scale[here]), np.log(share[here])
    windows = [
        (first, last)
        for first in range(len(x))
        for last in range(first + LEAST_POINTS, len(x) + 1)
        if x[last - 1] - x[first] >= np.log(LEAST_SPAN)
    ]
    if not windows:
        return PowerLaw(scale, share, np.nan, np.nan, (np.nan, np.nan), False)
    fits = [_slope_and_error(x[first:last], y[first:last]) for first, last in windows]
    slopes, errors = np.array(fits).T
    best = int(np.argmin(errors))
    squares = errors**2 + (slopes - slopes[best]) ** 2
    error = float(np.sqrt(np.average(squares, weights=1 / errors**2)))
    first, last = here[windows[best][0]], here[windows[best][1] - 1]
    window = float(scale[first]), float(scale[last])
    return PowerLaw(scale, share, float(slopes[best]), error, window, error <= LARGEST_ERROR)


def _slope_and_error(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    slope, residual, squares = _line(x, y)
    scatter = np.sqrt((residual / (len(x) - 2) + ROUNDING**2) / squares)
    half = (len(x) + 1) // 2
    drift = (_line(x[:half], y[:half])[0] - _line(x[-half:], y[-half:])[0]) / 2
    return slope, float(np.hypot(scatter, drift))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Return the slope of the line, the sum of the squared residuals, and that of x."""
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    return slope, float(np.sum((y - slope * x) ** 2)), float(x @ x)
