"""Lanes that wait to go on: the living of earlier rounds, packed together."""

from typing import NamedTuple

import numpy as np

from gdjax.sweeps.block import Waiting
from gdjax.sweeps.packed import Packing


class Living(NamedTuple):
    """Some lanes that go on, in numpy arrays."""

    place: np.ndarray  # int32 [dims, lanes]
    base: np.ndarray  # int32 [lanes], updates so far
    state: list[np.ndarray]  # packed

    @property
    def lanes(self) -> int:
        """The number of lanes."""
        return len(self.base)


class Pool:
    """The lanes that wait, in the order in which they came."""

    def __init__(self, packing: Packing) -> None:
        """Take how their states are packed."""
        self.packing = packing
        self.parts: list[Living] = []
        self.count = 0

    def add(self, living: Living) -> None:
        """Let lanes wait."""
        if living.lanes:
            self.parts.append(living)
            self.count += living.lanes

    def taken(self, most: int, room: int) -> Waiting:
        """Remove and return at most `most` lanes, the first to have come, with `room` for more."""
        parts, count = [], 0
        while self.parts and count < most:
            part = self.parts.pop(0)
            if count + part.lanes > most:
                part, rest = self._split(part, most - count)
                self.parts.insert(0, rest)
            parts.append(part)
            count += part.lanes
        self.count -= count
        place = np.zeros((len(parts[0].place), room), np.int32)
        np.concatenate([part.place for part in parts], 1, out=place[:, :count])
        base = np.zeros(room, np.int32)
        np.concatenate([part.base for part in parts], out=base[:count])
        state = self.packing.joined([part.state for part in parts], room)
        return Waiting(np.int32(count), place, base, state)

    def _split(self, living: Living, count: int) -> tuple[Living, Living]:
        first, rest = (
            Living(
                living.place[:, lanes],
                living.base[lanes],
                self.packing.taken(living.state, lanes),
            )
            for lanes in (slice(count), slice(count, None))
        )
        return first, rest
