"""What `refine` returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gdjax.basins.map_basins import Attractors
from gdjax.basins.refinement.audit import Missed


class Leaves(NamedTuple):
    """The cells that a refined map consists of: each has one label, and together they are all."""

    first: np.ndarray  # int64 [leaves, dims], where in the finest map its first start is
    level: np.ndarray  # int8 [leaves]; 2^(levels - level) starts lie along a side
    label: np.ndarray  # integers [leaves]
    size: np.ndarray  # int64 [leaves], starts of the finest map in each


@dataclass(frozen=True, eq=False)
class Refinement:
    """A map of basins that was computed along its borders only.

    Attributes:
      leaves: its cells, from coarse to fine, and in each level in C order.
      shape: the length of each side of the finest map, in starts.
      levels: how often the sides of the coarsest cells were halved.
      dims: the names of the dimensions.
      coords: the values along each dimension, by name.
      evaluated: how many starts were run; those of the audit are not counted.
      missed: how many of the others have a wrong label, judged by an audit.
      attractors: the minima, in the order of their labels, whose `size` counts the starts that were
        run; None where a function of the runs labelled them.
    """

    leaves: Leaves
    shape: tuple[int, ...]
    levels: int
    dims: tuple[str, ...]
    coords: Mapping[str, np.ndarray]
    evaluated: int
    missed: Missed
    attractors: Attractors | None

    @property
    def share(self) -> float:
        """The share of the starts of the finest map that were run."""
        return self.evaluated / int(self.leaves.size.sum())

    def labels(self) -> np.ndarray:
        """Return the label of each start of the finest map.

        Returns:
          Integers [*shape], as small as hold the labels: 256 MiB for 16,384² starts and fewer than
          128 labels.

        >>> import gdjax, optax
        >>> well = gdjax.landscapes.double_well
        >>> problem = lambda start: gdjax.Descent(well, start, optax.sgd(0.1))
        >>> refined = gdjax.basins.refine(problem, [(-2, 2), (-2, 2)], levels=1, coarse=2)
        >>> refined.labels().tolist()
        [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
        """
        return self.painted(self.leaves.label, self.levels)

    def painted(self, values: np.ndarray, level: int) -> np.ndarray:
        """Return whole numbers of the leaves over the cells of a level, in the smallest type.

        A cell that is finer than a level shows has the value of the last of its finest leaves.
        """
        low, high = values.min(), values.max()
        kinds = (np.int8, np.int16, np.int32, np.int64)
        kind = next(t for t in kinds if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
        painted = np.zeros([n >> self.levels for n in self.shape], kind)
        for k in range(level + 1):
            if k:
                for axis in range(painted.ndim):
                    painted = np.repeat(painted, 2, axis=axis)
            chosen = self.leaves.level == k if k < level else self.leaves.level >= k
            place = self.leaves.first[chosen] >> (self.levels - k)
            painted[tuple(place.T)] = values[chosen]
        return painted
