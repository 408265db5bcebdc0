"""The blocks of a sweep as boxes of its lanes, and the order of the lanes within a box.

Neighbours end at nearly the same time, so a tile holds a compact patch of them: a box is as narrow
as a patch in all dimensions but one, along which its tiles follow each other.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

STRETCHES = 2  # of boxes that a block gets from far apart, so that blocks take about as long


class Boxes(NamedTuple):
    """Boxes of lanes: arrays int32 [boxes, dims]."""

    offset: np.ndarray
    sides: np.ndarray

    @property
    def lanes(self) -> np.ndarray:
        """The number of lanes of each, int64 [boxes]."""
        return np.prod(self.sides, axis=1, dtype=np.int64)

    def part(self, first: int, end: int) -> "Boxes":
        """Return the boxes from `first` to `end`."""
        return Boxes(self.offset[first:end], self.sides[first:end])


class Blocks(NamedTuple):
    """How the lanes of a sweep are cut: blocks of boxes, boxes of tiles.

    Within a box the dimension `slow` is the slowest, the others are in C order.
    """

    shape: tuple[int, ...]
    slow: int
    sides: tuple[int, ...]  # of a box that no border cuts
    tile: int  # lanes
    boxes: int  # of a block, at most

    @property
    def tiles_a_box(self) -> int:
        """The number of tiles that hold a box."""
        return -(-prod(self.sides) // self.tile)

    @property
    def lanes_a_box(self) -> int:
        """The lanes that a box has room for."""
        return self.tiles_a_box * self.tile

    @property
    def boxes_along(self) -> list[int]:
        """The number of boxes along each dimension."""
        return [-(-n // side) for n, side in zip(self.shape, self.sides)]

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return -(-prod(self.boxes_along) // self.boxes)

    def each(self) -> Iterator[Boxes]:
        """Return the boxes of each block, made here but for cutting them."""
        sides, lengths = np.array(self.sides, np.int32), np.array(self.shape, np.int32)
        along = self.boxes_along
        numbers = np.arange(prod(along))
        offset = np.stack(np.unravel_index(numbers, along), axis=1).astype(np.int32) * sides
        boxes = Boxes(offset, np.minimum(sides, lengths - offset))
        stretches = np.array_split(numbers, STRETCHES * self.blocks)
        parts = (np.concatenate(stretches[block :: self.blocks]) for block in range(self.blocks))
        return (Boxes(boxes.offset[part], boxes.sides[part]) for part in parts)

    def runs(self, boxes: Boxes) -> list[tuple[int, int]]:
        """Return the boxes in runs [first, end) that lie side by side and fill their room."""
        # Of so few numbers, Python makes less work than numpy.
        offsets, sides = boxes.offset.tolist(), boxes.sides.tolist()
        first, along, runs = 0, None, []
        for i in range(1, len(offsets)):
            beside = None
            if sides[i] == sides[i - 1] and prod(sides[i]) == self.lanes_a_box:
                beside = self._beside(offsets[i - 1], offsets[i])
            if beside is None or along not in (None, beside):
                runs.append((first, i))
                first, along = i, None
            else:
                along = beside
        return [*runs, (first, len(offsets))]

    def _beside(self, first: list[int], second: list[int]) -> int | None:
        """Return the dimension along which a box follows another one, if it does."""
        moved = [i for i, (a, b) in enumerate(zip(first, second)) if a != b]
        if len(moved) != 1 or moved[0] == self.slow:
            return None
        (i,) = moved
        return i if second[i] == first[i] + self.sides[i] else None

    def put(self, views: Sequence[np.ndarray], run: Boxes, leaves: Sequence[np.ndarray]) -> None:
        """Write what the lanes of a run of boxes have [count, ...] to their places in views.

        Each view is an array [*shape, ...] of the whole sweep.
        """
        sides, dims, count = run.sides[0].tolist(), len(self.shape), len(run.offset)
        low, high = run.offset[0].tolist(), run.offset[-1].tolist()
        along = max(range(dims), key=lambda i: high[i] - low[i])
        corners = low, (run.offset[-1] + run.sides[-1]).tolist()
        part = tuple(map(slice, *corners))
        others = [i for i in range(dims) if i != self.slow]
        in_order = [count, sides[self.slow], *(sides[i] for i in others)]
        order = [1 if i == self.slow else 2 + others.index(i) for i in range(dims)]
        order.insert(along, 0)
        split = [*sides[:along], count, *sides[along:]]
        for view, leaf in zip(views, leaves):
            own = view.shape[dims:]
            values = leaf.reshape(*in_order, *own)
            values = values.transpose(*order, *range(dims + 1, values.ndim))
            view[part].reshape(*split, *own)[...] = values

    def lanes(self, boxes: Boxes) -> np.ndarray:
        """Return the positions in a block that hold a lane."""
        room = self.lanes_a_box
        holds = np.arange(len(boxes.lanes) * room) % room < np.repeat(boxes.lanes, room)
        return np.flatnonzero(holds)

    def place(self, positions: np.ndarray, boxes: Boxes) -> np.ndarray:
        """Return where lanes at positions [n] of a block are, int32 [dims, n]."""
        if not len(positions):
            return np.zeros((len(self.shape), 0), np.int32)
        number, within = np.divmod(positions, self.lanes_a_box)
        offset, sides = boxes.offset[number].T, boxes.sides[number].T
        return np.stack(_place(offset, sides, within, self.slow, np.divmod)).astype(np.int32)


def blocks(shape: tuple[int, ...], tile: int, block: int) -> Blocks:
    """Return how to cut lanes into tiles of `tile` and blocks of about `block` lanes."""
    slow = slowest(shape)
    sides = patch_sides(shape, tile)
    across = prod(side for i, side in enumerate(sides) if i != slow)
    sides[slow] = max(1, min(shape[slow], max(block, tile) // across))
    each = -(-prod(sides) // tile) * tile
    in_all = prod(-(-n // side) for n, side in zip(shape, sides))
    return Blocks(shape, slow, tuple(sides), tile, max(1, min(block // each, in_all)))


def slowest(shape: tuple[int, ...]) -> int:
    """Return the dimension along which boxes are long: the first, if it can, as in C order."""
    return max(range(len(shape)), key=lambda i: (shape[i], i))


def patch_sides(shape: tuple[int, ...], lanes: int) -> list[int]:
    """Return the sides of a patch of at most `lanes` lanes, nearly a cube.

    The last side is the longest, for arrays in C order.
    """
    sides = [1] * len(shape)
    growing = set(range(len(shape)))
    while growing:
        i = min(growing, key=lambda i: (sides[i], -i))
        longer = min(2 * sides[i], shape[i])
        if longer == sides[i] or prod(sides) // sides[i] * longer > lanes:
            growing.remove(i)
        else:
            sides[i] = longer
    return sides


def traced_place(offset: Any, sides: Any, positions: Any, slow: int) -> list[Any]:
    """Return where the lanes at traced positions [n] of a box are: int32 [n] by dimension."""
    return _place(offset, sides, positions, slow, _divided)


def _place(offset: Any, sides: Any, positions: Any, slow: int, divided: Any) -> list[Any]:
    places, rest = {}, positions
    for i in reversed([i for i in range(len(offset)) if i != slow]):
        rest, places[i] = divided(rest, sides[i])
    places[slow] = rest
    return [places[i] + offset[i] for i in range(len(offset))]


def _divided(dividend: Any, divisor: Any) -> tuple[Any, Any]:
    # Whole numbers below 2^22 are divided exactly in float32, and CPUs have no vectors of divisions
    # of whole numbers.
    quotient = jnp.floor((dividend.astype(jnp.float32) + 0.5) / divisor.astype(jnp.float32))
    quotient = quotient.astype(jnp.int32)
    return quotient, dividend - quotient * divisor
