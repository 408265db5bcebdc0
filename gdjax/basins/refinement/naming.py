"""Labels that stay the same from one batch of runs to the next."""

from typing import Protocol

import numpy as np

from gdjax.basins.map_basins import map_basins
from gdjax.basins.measures.codes import NONE
from gdjax.basins.refinement.starts import Starts
from gdjax.sweeps import Runs

SPREAD = 256  # runs of the first batch that are kept, so that the spread of the starts is seen
OF_EACH = 16  # runs that are kept of each attractor


class Labeller(Protocol):
    """How runs are labelled."""

    def __call__(self, runs: Runs) -> np.ndarray:
        """Return the label of each run."""
        ...


class AttractorNames:
    """The labels of `map_basins` for batch after batch: its first, and then new ones after them.

    A few runs of each attractor are mapped again together with each batch, and name what they are
    labelled alike with.
    """

    def __init__(self, starts: Starts) -> None:
        """Take what joins runs."""
        self.starts = starts
        self.kept: Runs | None = None
        self.labels = np.zeros(0, np.int32)

    def __call__(self, runs: Runs) -> np.ndarray:
        """Return the labels of a batch."""
        if self.kept is None:
            labels = map_basins(runs).labels
            self.remember(runs, labels)
            return labels
        count = len(self.labels)
        found = map_basins(self.starts.joined([self.kept, runs])).labels
        names, unnamed = _names(found[:count], self.labels, int(found.max(initial=NONE)) + 1)
        labels = np.where(found == NONE, NONE, names[found])[count:].astype(np.int32)
        new = np.isin(labels, unnamed)
        if new.any():
            lanes = _first_of_each(labels, new)
            self.kept = self.starts.joined([self.kept, self.starts.taken(runs, lanes)])
            self.labels = np.concatenate([self.labels, labels[lanes]])
        return labels

    def remember(self, runs: Runs, labels: np.ndarray) -> None:
        """Name attractors by the labels of these runs from now on."""
        even = np.linspace(0, len(labels) - 1, min(len(labels), SPREAD)).astype(int)
        lanes = np.union1d(even, _first_of_each(labels, labels != NONE))
        self.kept, self.labels = self.starts.taken(runs, lanes), labels[lanes]


def _names(found: np.ndarray, known: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the name of each of `count` labels, by runs with one found and one known; the new."""
    both = (found != NONE) & (known != NONE)
    free = int(known.max(initial=NONE)) + 1
    names = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(names, found[both], known[both].astype(np.int64))
    unnamed = names == np.iinfo(np.int64).max
    names[unnamed] = free + np.arange(np.count_nonzero(unnamed))
    return names, names[unnamed]


def _first_of_each(labels: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the first few of the runs with each label, among some."""
    lanes = np.flatnonzero(among)
    order = lanes[np.argsort(labels[lanes], kind="stable")]
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, counts)
    return order[rank < OF_EACH]
