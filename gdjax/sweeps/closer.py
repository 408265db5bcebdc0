"""The closer look at lanes that a glance does not settle, and at where they go from their ends.

Lanes of a tile wait for each other, so they are packed anew where some are done.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

import jax
import numpy as np

from gdjax.curvature.extremes import LARGEST_HESSIAN
from gdjax.diagnosis import Diagnosis
from gdjax.diagnosis.ahead import ENOUGH, MOST_WINDOWS, Ahead
from gdjax.diagnosis.decide import Found
from gdjax.diagnosis.end import End
from gdjax.sweeps.lanes import Lanes
from gdjax.sweeps.looks import looks_at
from gdjax.sweeps.threads import in_threads
from gdjax.trees import PyTree, size

WIDTH = 2**8  # lanes of a tile
TILES = 2**3  # of a call, if there are more lanes
NUMBERS = 2**20  # of parameters in a call
FOUND = 2**24  # of entries of Hessians at the ends of its lanes


def look_closer(
    lanes: Lanes,
    shared: tuple,
    ends: End,
    numbers: np.ndarray,
    diagnosis: Diagnosis,
    workers: int,
) -> None:
    """Write the diagnosis of the lanes of these numbers into its arrays [lanes].

    `shared` are the sources and the key of the lanes, `ends` those of all lanes.
    """
    closer = _Closer(lanes, shared, ends, len(numbers))

    def part(first: int) -> None:
        for some, own in closer.diagnosed(numbers[first : first + closer.room]):
            for rows, values in zip(diagnosis, own):
                rows[some] = values

    in_threads(part, range(0, len(numbers), closer.room), workers)


class _Closer:
    """The closer look at lanes, as many as a call has room for."""

    def __init__(self, lanes: Lanes, shared: tuple, ends: End, count: int) -> None:
        """Take the lanes, what they share, their ends, and how many are to be looked at."""
        dim = size(ends.params) // lanes.count
        self.width = min(WIDTH, power_of_two(NUMBERS // dim), 2 * power_of_two(count - 1))
        found = self.width * dim * min(dim, LARGEST_HESSIAN)
        most = min(TILES, NUMBERS // (self.width * dim), FOUND // found)
        self.room = self.width * (max(1, most) if count > self.width else 1)
        self.shared, self.ends = shared, ends
        self.looks = looks_at(lanes.lane, lanes.shape, self.width)
        self.lock = Lock()

    def diagnosed(self, numbers: np.ndarray) -> list[tuple[np.ndarray, Diagnosis]]:
        """Return the diagnosis of lanes by their numbers, the last one said of each being right."""
        seen, found = self._call(self.looks.closer, (), numbers)
        rest = np.flatnonzero(~seen.settled)
        if not len(rest):
            return [(numbers, seen.diagnosis)]
        found, some = _taken(found, rest), numbers[rest]
        begin = self._nothing_yet(some)
        self._prepare(some, found, begin)
        order, ahead = self._ahead(some, found, begin)
        way = self._call(self.looks.on_the_way, (), some[order], _taken(found, order), ahead)
        return [(numbers, seen.diagnosis), (some[order], way)]

    def _nothing_yet(self, numbers: np.ndarray) -> Ahead:
        """Return what is ahead of lanes in no windows, of which only that is read."""
        ends = _taken(self.ends, numbers)
        shapes = jax.eval_shape(self.looks.nothing_yet, *self.shared, numbers, ends)
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)

    def _prepare(self, numbers: np.ndarray, found: Found, begin: Ahead) -> None:
        """Compile what follows the closer look, both programs at the same time."""
        calls = [
            (self.looks.ahead, *self._arguments((np.int32(0),), numbers, found.tol, begin)),
            (self.looks.on_the_way, *self._arguments((), numbers, found, begin)),
        ]

        def compiled(i: int) -> None:
            look, common, _, lanes = calls[i]
            look(self.shared, common, np.int32(0), lanes)  # no tile

        with self.lock:
            if not all(look.is_compiled(self.shared, *args) for look, *args in calls):
                in_threads(compiled, range(2), 2)

    def _ahead(self, numbers: np.ndarray, found: Found, begin: Ahead) -> tuple[np.ndarray, Ahead]:
        """Return what is ahead of lanes, in an order in which like ones follow each other."""
        look = self.looks.ahead
        ahead: Ahead = self._call(look, (np.int32(ENOUGH),), numbers, found.tol, begin)
        is_open = np.asarray(ahead.is_open & (ahead.windows == ENOUGH))
        # Those that have not arrived and are calm are followed until they do.
        idle = ahead.closed | ~ahead.finite | (ahead.windows == 0) | (ahead.first > 0)
        done = np.flatnonzero(~is_open)
        done = done[np.argsort(~idle[done], kind="stable")]
        rest = np.flatnonzero(is_open)
        if not len(rest):
            return done, _taken(ahead, done)
        own = _taken((found.tol, ahead), rest)
        later = self._call(look, (np.int32(MOST_WINDOWS),), numbers[rest], *own)
        both = jax.tree.map(lambda a, b: np.concatenate([a, b]), _taken(ahead, done), later)
        return np.concatenate([done, rest]), both

    def _call(
        self, look: Callable[..., Any], common: tuple, numbers: np.ndarray, *more: PyTree
    ) -> Any:
        seen = look(self.shared, *self._arguments(common, numbers, *more))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(numbers)], seen)

    def _arguments(self, common: tuple, numbers: np.ndarray, *more: PyTree) -> tuple:
        """Return what looks take beside what is shared: lanes fill a call's room, or may not."""
        count = len(numbers)
        tiles = -(-count // self.width)

        def filled(leaf: np.ndarray) -> np.ndarray:
            rows = np.empty((self.room, *leaf.shape[1:]), leaf.dtype)
            rows[:count], rows[count : tiles * self.width] = leaf, leaf[-1]
            return rows

        own = numbers.astype(np.int32), _taken(self.ends, numbers), *more
        return common, np.int32(tiles), jax.tree.map(filled, own)


def power_of_two(most: int) -> int:
    """Return the largest power of two up to `most`, at least 1: calls of few shapes."""
    return 1 << max(most.bit_length() - 1, 0)


def _taken(tree: PyTree, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: np.take(leaf, rows, axis=0), tree)
