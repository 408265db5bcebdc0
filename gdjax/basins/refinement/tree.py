"""A tree of cells, cut where a border runs through them: a quadtree in two dimensions."""

from collections.abc import Callable

import numpy as np

from gdjax.basins.refinement.lattice import Lattice

NOTHING = np.zeros(0, np.int64)


class Points:
    """The starts that have been run, with their labels."""

    def __init__(
        self,
        run: Callable[[np.ndarray], np.ndarray],
        codes: np.ndarray = NOTHING,
        labels: np.ndarray = NOTHING,
    ) -> None:
        """Take the function from new starts, sorted, to their labels, and what is known already."""
        self.run, self.codes, self.labels = run, codes, labels

    def labels_at(self, starts: np.ndarray) -> np.ndarray:
        """Return the labels of starts, codes of any shape; those that are new are run."""
        new = without(starts, self.codes)
        if len(new):
            labels = self.run(new)
            at = np.searchsorted(self.codes, new)
            self.codes = np.insert(self.codes, at, new)
            self.labels = np.insert(self.labels, at, labels)
        return self.labels[np.searchsorted(self.codes, starts)]


class Tree:
    """Cells that are cut where their corners disagree, or where a border leaves a cell beside them.

    A border that has been met anywhere is followed to its end: what is missed are whole islands
    that no corner lies on.
    """

    def __init__(self, lattice: Lattice, points: Points) -> None:
        """Grow the tree; starts are run as their labels are needed, a level at a time."""
        self.lattice, self.points = lattice, points
        self.cut = [NOTHING] * lattice.levels  # of each level, sorted
        self._fresh = [NOTHING] * lattice.levels  # those whose children are to be looked at
        self._look_at(0, np.arange(lattice.coarse**lattice.dims))
        # The coarsest first: so the fewest calls run the most starts each.
        while (
            level := next((k for k, new in enumerate(self._fresh) if len(new)), None)
        ) is not None:
            cells, self._fresh[level] = self._fresh[level], NOTHING
            self._look_at(level + 1, lattice.children(level, cells))

    def leaves(self, level: int) -> np.ndarray:
        """Return the cells of a level that are not cut."""
        if level == 0:
            cells = np.arange(self.lattice.coarse**self.lattice.dims)
        else:
            cells = self.lattice.children(level - 1, self.cut[level - 1])
        return cells if level == self.lattice.levels else without(cells, self.cut[level])

    def labels_at(self, starts: np.ndarray) -> np.ndarray:
        """Return the labels that the leaves give to starts; none is run."""
        corners = starts.copy()
        open_still = np.arange(len(starts))
        for level, cut in enumerate(self.cut):
            cells = self.lattice.enclosing(level, starts[open_still])
            ends = ~is_in(cells, cut)
            corners[open_still[ends]] = self.lattice.first_corners(level, cells[ends])
            open_still = open_still[~ends]
        return self.points.labels_at(corners)

    def _look_at(self, level: int, cells: np.ndarray) -> None:
        """Cut those of these cells, new in the tree, whose corners disagree."""
        labels = self.points.labels_at(self.lattice.corners(level, cells))
        mixed = (labels != labels[:, :1]).any(axis=1)
        self._cut(level, cells[mixed])
        if level:
            across = self._across(level, cells[mixed], labels[mixed])
            self._cut(level - 1, self.lattice.parents(level, across))

    def _across(self, level: int, cells: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the cells beyond the faces whose corners disagree: the border goes on in them."""
        places, ways = self.lattice.places(level, cells), np.array(self.lattice.ways)
        last = self.lattice.shape(level)[0] - 1
        found = [NOTHING]
        for axis, (side, step) in (
            (a, s) for a in range(self.lattice.dims) for s in ((0, -1), (1, 1))
        ):
            face = labels[:, ways[:, axis] == side]
            mixed = (face != face[:, :1]).any(axis=1)
            inside = places[:, axis] != (last if side else 0)
            beyond = places[mixed & inside]
            beyond[:, axis] += step
            found.append(self.lattice.codes(level, beyond))
        return np.unique(np.concatenate(found))

    def _cut(self, level: int, cells: np.ndarray) -> None:
        """Cut cells, and before them those of coarser levels that they are parts of."""
        if level == self.lattice.levels:
            return
        cells = without(cells, self.cut[level])
        if not len(cells):
            return
        if level:
            self._cut(level - 1, self.lattice.parents(level, cells))
        self.cut[level] = np.union1d(self.cut[level], cells)
        self._fresh[level] = np.union1d(self._fresh[level], cells)


def is_in(codes: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return which codes are among others, which are sorted."""
    if not len(among):
        return np.zeros(codes.shape, bool)
    at = np.minimum(np.searchsorted(among, codes), len(among) - 1)
    return among[at] == codes


def without(codes: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return codes, sorted and each once, without those among others, which are sorted."""
    codes = np.unique(codes)
    return codes[~is_in(codes, among)]
