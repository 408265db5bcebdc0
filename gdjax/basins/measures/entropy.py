"""How unpredictable the end is: the entropy of the labels within small boxes."""

from typing import Any, Literal, NamedTuple

import numpy as np

from gdjax import checks
from gdjax.basins.measures.codes import checked_map, counted
from gdjax.basins.measures.intervals import NORMAL_95

ROUNDING = 1e-12  # of an entropy, below which it is not above another


class BasinEntropy(NamedTuple):
    """Entropies in nats, with their standard errors as if the boxes were independent."""

    total: float  # mean over all boxes
    total_error: float
    boundary: float  # mean over the boxes with more than one label; NaN where there is none
    boundary_error: float  # NaN where there are fewer than two such boxes
    boxes: int
    boundary_boxes: int
    proves_fractal: bool  # the ln 2 test: that of resolved basins is above ln 2 by 1.96 errors


def basin_entropy(labels: Any, box: int, shape: Literal["cube", "ball"] = "cube") -> BasinEntropy:
    """Return the basin entropy and the boundary basin entropy, with the ln 2 test.

    The map is cut into boxes; p_ij is the share of label j among the starts in box i, and
    S_i = -Σ_j p_ij ln p_ij. The basin entropy is the mean of S_i over all boxes, the boundary basin
    entropy the mean over those with more than one label. The latter is at most ln 2 where a
    boundary is smooth and the boxes are small enough for nearly all to meet two basins at most, so
    that above ln 2 it is fractal; below, nothing follows. The test leaves out boxes with a label of
    fewer starts than fit into one: of a basin smaller than a box no boundary is seen. A straight
    boundary at random has 1/2 with cubes across one axis, and 0.43951 with discs, in the limit of
    many starts in a box; with cubes of n starts a side it is about n / (n - 1) as large.

    Starts labelled -1 are left out, and boxes of nothing else too. So are the rest along an axis
    that is no whole number of boxes long, and axes of length 1.

    Args:
      labels: integer array of any shape, over a grid of starts.
      box: how many starts a box is wide, at least 2; Daza et al. take 5 in two dimensions.
      shape: "cube", or "ball" for the balls within the cubes (in two dimensions discs).

    Returns:
      Both entropies with their errors, the numbers of boxes, and the test's verdict.

    Raises:
      TypeError: the labels are not integers, or `box` is no whole number.
      ValueError: there are no labels, `box` is below 2 or wider than the map, or `shape` is
        unknown.

    References:
      Daza, Wagemakers, Georgeot, Guéry-Odelin, Sanjuán, Basin entropy: a new tool to analyze
      uncertainty in dynamical systems, 2016.
      Puy, Daza, Wagemakers, Sanjuán, A test for fractal boundaries based on the basin entropy,
      2021: discs.

    >>> import gdjax
    >>> labels = np.repeat([0, 1, 0], [7, 11, 6])
    >>> entropy = gdjax.basins.basin_entropy(labels, 4)
    >>> print(f"{entropy.total:.3f} {entropy.boundary:.3f} {entropy.proves_fractal}")
    0.209 0.628 False
    """
    found = checked_map(labels)
    box = checks.whole_number("box", box, 2)
    if box > min(found.shape):
        raise ValueError(f"box: expected at most the map's shortest side, got {box}, {found.shape}")
    if shape not in ("cube", "ball"):
        raise ValueError(f'shape: expected "cube" or "ball", got {shape!r}')
    rows = _boxes(found, box)
    if shape == "ball":
        rows = rows[:, _in_ball(box, found.ndim)]
    labelled = np.count_nonzero(rows, axis=1)
    rows, labelled = rows[labelled > 0], labelled[labelled > 0]
    lowest = np.where(rows == 0, np.iinfo(rows.dtype).max, rows).min(axis=1)
    mixed = rows.max(axis=1) > lowest
    entropy = _entropies(rows[mixed], labelled[mixed])
    tested, tested_error = _mean(*_resolved(found, rows[mixed], entropy))
    boundary, boundary_error = _mean(entropy, len(entropy))
    total, total_error = _mean(entropy, len(rows))
    return BasinEntropy(
        total,
        total_error,
        boundary,
        boundary_error,
        len(rows),
        len(entropy),
        tested - NORMAL_95 * tested_error > np.log(2) * (1 + ROUNDING),
    )


def _resolved(found: np.ndarray, rows: np.ndarray, entropy: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the entropies, and their number, of rows whose labels all fill as many starts."""
    label, count = counted(found)
    small = label[(count < rows.shape[1]) & (label > 0)]
    if len(small):
        entropy = entropy[~np.isin(rows, small).any(axis=1)]
    return entropy, len(entropy)


def _boxes(found: np.ndarray, box: int) -> np.ndarray:
    """Return the labels of each box in a row."""
    whole = [n // box for n in found.shape]
    cropped = found[tuple(slice(n * box) for n in whole)]
    cut = cropped.reshape([length for n in whole for length in (n, box)])
    axes = range(0, 2 * found.ndim, 2)
    return cut.transpose(*axes, *(axis + 1 for axis in axes)).reshape(-1, box**found.ndim)


def _in_ball(box: int, dim: int) -> np.ndarray:
    """Return which cells of a cube have their centres in the ball within it."""
    squares = (np.arange(box) - (box - 1) / 2) ** 2
    return np.sum(np.meshgrid(*[squares] * dim), axis=0).ravel() <= box**2 / 4


def _entropies(rows: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Return for each row the entropy of its labels: ln n - Σ c ln c / n, with the counts c."""
    if not len(rows):
        return np.zeros(0)
    rows = np.sort(rows, axis=1)
    starts = np.ones(rows.shape, bool)  # of runs of equal labels
    starts[:, 1:] = rows[:, 1:] != rows[:, :-1]
    first = np.flatnonzero(starts)
    length = np.diff(first, append=rows.size)
    weight = np.where(rows.ravel()[first] > 0, length * np.log(length), 0)
    sums = np.bincount(first // rows.shape[1], weight, minlength=len(rows))
    return np.log(labelled) - sums / labelled


def _mean(values: np.ndarray, count: int) -> tuple[float, float]:
    """Return the mean and its standard error of these values and zeros, `count` in all."""
    if count == 0:
        return float("nan"), float("nan")
    mean = values.sum() / count
    if count == 1:
        return float(mean), float("nan")
    squares = np.sum((values - mean) ** 2) + (count - len(values)) * mean**2
    return float(mean), float(np.sqrt(squares / (count - 1) / count))
