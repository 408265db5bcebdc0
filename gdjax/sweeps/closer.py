"""The closer look at lanes that a glance does not settle, and at where they go from their ends.

Lanes of a tile wait for each other, so they are packed anew where some are done.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

import jax
import numpy as np

from gdjax.curvature.extremes import LARGEST_HESSIAN
from gdjax.descent import Status
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
        self.nothing_yet: Any = None  # of as many lanes as there is room for

    def diagnosed(self, numbers: np.ndarray) -> list[tuple[np.ndarray, Diagnosis]]:
        """Return the diagnosis of lanes by their numbers, the last one said of each being right."""
        seen, found = self._call(self.looks.closer, (), numbers)
        rest = np.flatnonzero(~seen.settled)
        if not len(rest):
            return [(numbers, seen.diagnosis)]
        self._prepare(numbers, found)
        order, ahead = self._ahead(numbers, found.tol, rest)
        found = _taken(found, order)
        way = self._call(self.looks.on_the_way, (), numbers[order], found, ahead)
        return [(numbers, seen.diagnosis), (numbers[order], way)]

    def _prepare(self, numbers: np.ndarray, found: Found) -> None:
        """Compile what follows the closer look, both programs at the same time."""
        with self.lock:
            if self.nothing_yet is not None:
                return
            shapes = jax.eval_shape(self.looks.nothing_yet, *self.shared, *self._filled(numbers))
            # Of what is ahead in no windows, only that is read.
            nothing = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
            own = _taken(nothing, slice(len(numbers)))
            calls = [
                (self.looks.ahead, (np.int32(0),), (found.tol, own)),
                (self.looks.on_the_way, (), (found, own)),
            ]

            def compiled(i: int) -> None:
                look, common, more = calls[i]
                lanes = self._filled(numbers, *more)
                if not look.is_compiled(self.shared, common, np.int32(0), lanes):
                    look(self.shared, common, np.int32(0), lanes)  # no tile

            in_threads(compiled, range(2), 2)
            self.nothing_yet = nothing

    def _ahead(
        self, numbers: np.ndarray, tol: np.ndarray, rest: np.ndarray
    ) -> tuple[np.ndarray, Ahead]:
        """Return the rest of lanes in an order in which like ones follow each other.

        And what is ahead of them: nothing where a run diverged.
        """
        look = self.looks.ahead
        goes_on = self.ends.status[numbers[rest]] != Status.DIVERGED
        order, rest = [rest[~goes_on]], rest[goes_on]
        parts = [_taken(self.nothing_yet, slice(len(order[0])))]
        begin = _taken(self.nothing_yet, slice(len(rest)))
        for most in (ENOUGH, MOST_WINDOWS):
            if not len(rest):
                break
            ahead: Ahead = self._call(look, (np.int32(most),), numbers[rest], tol[rest], begin)
            is_open = np.asarray(ahead.is_open & (ahead.windows == most))
            # Those that have not arrived and are calm are followed until they do.
            idle = ahead.closed | ~ahead.finite | (ahead.first > 0)
            for some in (~is_open & idle, ~is_open & ~idle):
                order.append(rest[some])
                parts.append(_taken(ahead, some))
            rest, begin = rest[is_open], _taken(ahead, is_open)
        return np.concatenate(order), jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _call(
        self, look: Callable[..., Any], common: tuple, numbers: np.ndarray, *more: PyTree
    ) -> Any:
        tiles = np.int32(-(-len(numbers) // self.width))
        seen = look(self.shared, common, tiles, self._filled(numbers, *more))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(numbers)], seen)

    def _filled(self, numbers: np.ndarray, *more: PyTree) -> tuple:
        """Return lanes with as many others behind them as a call has room for.

        The last is repeated until a tile is full; what is beyond is not looked at.
        """
        count = len(numbers)
        end = -(-count // self.width) * self.width

        def filled(leaf: np.ndarray) -> np.ndarray:
            rows = np.empty((self.room, *leaf.shape[1:]), leaf.dtype)
            rows[:count], rows[count:end] = leaf, leaf[-1]
            return rows

        ends = _taken(self.ends, numbers)
        return jax.tree.map(filled, (numbers.astype(np.int32), ends, *more))


def power_of_two(most: int) -> int:
    """Return the largest power of two up to `most`, at least 1: calls of few shapes."""
    return 1 << max(most.bit_length() - 1, 0)


def _taken(tree: PyTree, lanes: Any) -> Any:
    """Return some lanes: by a slice, by their numbers, or by whether they are meant."""
    return jax.tree.map(lambda leaf: leaf[lanes], tree)
