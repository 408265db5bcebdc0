"""Whole numbers for the starts of the finest map, and for the cells of each level."""

from dataclasses import dataclass
from itertools import product

import numpy as np

MOST_STARTS = 2**62  # so that a code is an int64


@dataclass(frozen=True)
class Lattice:
    """The starts of the finest map, and cells between them whose side halves at each level.

    A code is the position of a cell or a start in C order. Cell i of a side covers the starts from
    i s to (i + 1) s - 1 along it, and its corners are the starts i s and (i + 1) s, or the last
    start where there is none. So the corners of a level are starts of all finer ones, and a
    cell of the finest level is its first corner.
    """

    dims: int
    coarse: int  # cells along a side at level 0
    levels: int

    def shape(self, level: int) -> tuple[int, ...]:
        """Return how many cells a level has along each side."""
        return (self.coarse << level,) * self.dims

    def places(self, level: int, cells: np.ndarray) -> np.ndarray:
        """Return the position of cells along each side, int64 [*cells, dims]."""
        return np.stack(np.unravel_index(cells, self.shape(level)), axis=-1)

    def codes(self, level: int, places: np.ndarray) -> np.ndarray:
        """Return the codes [...] of cells at places [..., dims]."""
        return np.asarray(
            np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), self.shape(level))
        )

    def parents(self, level: int, cells: np.ndarray) -> np.ndarray:
        """Return the cell of the level before that each cell is a part of."""
        return self.codes(level - 1, self.places(level, cells) >> 1)

    def children(self, level: int, cells: np.ndarray) -> np.ndarray:
        """Return the cells of the next level that these consist of, [2^dims cells]."""
        places = 2 * self.places(level, cells)[:, None] + np.array(self.ways)
        return self.codes(level + 1, places).ravel()

    def corners(self, level: int, cells: np.ndarray) -> np.ndarray:
        """Return the starts at the corners of cells, codes [*cells, 2^dims] in the order of `ways`.

        >>> Lattice(dims=1, coarse=2, levels=1).corners(0, np.array([0, 1])).tolist()
        [[0, 2], [2, 3]]
        """
        places = self.places(level, cells)[..., None, :] + np.array(self.ways)
        starts = np.minimum(places << (self.levels - level), (self.coarse << self.levels) - 1)
        return self.codes(self.levels, starts)

    def first_corners(self, level: int, cells: np.ndarray) -> np.ndarray:
        """Return the first start of each cell, by which it is labelled."""
        return self.codes(self.levels, self.places(level, cells) << (self.levels - level))

    def enclosing(self, level: int, starts: np.ndarray) -> np.ndarray:
        """Return the cell of a level that covers each start."""
        return self.codes(level, self.places(self.levels, starts) >> (self.levels - level))

    @property
    def ways(self) -> list[tuple[int, ...]]:
        """The corners of a cell: 0 or 1 along each side."""
        return list(product((0, 1), repeat=self.dims))
