"""What a map of basins is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np

from gdjax.basins.critical import is_bottom
from gdjax.trees import PyTree


class Attractors(NamedTuple):
    """Where runs end, in the order of their labels; arrays [attractors, ...].

    Minima and valleys come first, then saddles and maxima, then cycles; each of these sorted by
    loss, then coordinates.
    """

    params: PyTree  # polished by Newton's method; the first point of a cycle
    loss: np.ndarray  # of a cycle, the mean over it
    loss_error: np.ndarray  # how far rounding, or the last of the way down, may have moved it
    curvature_min: np.ndarray  # least and greatest eigenvalue of the Hessian; NaN for a cycle
    curvature_max: np.ndarray
    size: np.ndarray  # int [attractors] how many starts lead there
    verdict: np.ndarray  # int8 [attractors] MINIMUM, VALLEY, SADDLE, MAXIMUM or OSCILLATING
    # Negative curvatures, int32 [attractors]; beyond 256 parameters at most 16 are seen.
    index: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]
    flat_dimension: np.ndarray  # int32 [attractors] of a valley; at most 16 are seen
    period: np.ndarray  # int32 [attractors] of a cycle, from 2 to 32; 0 for a point
    falls_to: np.ndarray  # int32 [attractors, 2] labels that a saddle's sides fall to, or -1
    orbits: PyTree  # leaves [cycles, longest period, ...]: their points, NaN beyond their periods


@dataclass(frozen=True, eq=False)
class Basins:
    """A map of basins.

    Attributes:
      labels: int32, shaped as the runs; the index of an attractor, or -1 for a run that reached
        none, or of which it is ambiguous which.
      attractors: minima and valleys, then saddles and maxima, then cycles.
      dims: the names of the dimensions.
      coords: the coordinates of the runs, by name.
      ambiguous: bool, shaped as the runs: those that ended farther from their attractor than a
        third of the way to the next, or where minima that differ are joined by a chain of others
        within the tolerance. None where that was not looked at.
      separation: the smallest gap between two attractors by the farthest that a run ended from its
        own, in units of the spread: well above 1, labels are beyond doubt. Infinite where there is
        only one attractor, NaN where there is none.
    """

    labels: np.ndarray
    attractors: Attractors
    dims: tuple[str, ...]
    coords: Mapping[str, np.ndarray]
    ambiguous: np.ndarray | None = None
    separation: float = float("nan")

    @property
    def minima(self) -> "Basins":
        """The map of minima and valleys alone; starts that lead elsewhere have the label -1."""
        count = int(is_bottom(self.attractors.verdict).sum())
        points = self.attractors._replace(orbits=None)
        table = jax.tree.map(lambda leaf: leaf[:count], points)
        orbits = jax.tree.map(lambda leaf: leaf[:0], self.attractors.orbits)
        labels = np.where(self.labels < count, self.labels, -1)
        return replace(self, labels=labels, attractors=table._replace(orbits=orbits))
