"""The blocks of a sweep as boxes of its lanes, and the order of the lanes within a box.

Neighbours end at nearly the same time, so a tile holds a compact patch of them: a box is as narrow
as a patch in all dimensions but one, along which its tiles follow each other.
"""

from collections.abc import Iterator
from itertools import islice, product
from math import prod
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Box(NamedTuple):
    """A box of lanes: arrays int32 [dims]."""

    offset: np.ndarray
    sides: np.ndarray

    @property
    def count(self) -> int:
        """The number of lanes."""
        return prod(self.sides.tolist())


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

    def __iter__(self) -> Iterator[list[Box]]:  # type: ignore[override]
        """Yield the boxes of each block."""
        cuts = (range(0, n, side) for n, side in zip(self.shape, self.sides))
        offsets = (np.array(offset, np.int32) for offset in product(*cuts))
        while block := list(islice(offsets, self.boxes)):
            yield [Box(o, np.minimum(self.sides, self.shape - o).astype(np.int32)) for o in block]

    def joined(self, boxes: list[Box]) -> list[list[Box]]:
        """Return the boxes in runs of equal ones that follow each other along one dimension."""
        runs: list[list[Box]] = []
        for box in boxes:
            if runs and self._follows(runs[-1], box):
                runs[-1].append(box)
            else:
                runs.append([box])
        return runs

    def _follows(self, run: list[Box], box: Box) -> bool:
        last = run[-1]
        whole = last.count == self.tiles_a_box * self.tile  # no gap between them in a block
        along = np.flatnonzero(box.offset - last.offset)
        if not whole or len(along) != 1 or along[0] == self.slow or (box.sides != last.sides).any():
            return False
        before = run[-2].offset if len(run) > 1 else last.offset - (box.offset - last.offset)
        return bool((box.offset - last.offset == last.offset - before).all())

    def put(self, view: np.ndarray, run: list[Box], values: np.ndarray) -> None:
        """Write what the lanes of a run of boxes have [count, ...] to their places in a view.

        The view is an array [*shape, ...] of the whole sweep.
        """
        sides = run[0].sides.tolist()
        along = int(np.argmax(run[-1].offset - run[0].offset))
        corners = run[0].offset, run[-1].offset + run[-1].sides
        part = view[tuple(map(slice, *(corner.tolist() for corner in corners)))]
        split = [*sides[:along], len(run), *sides[along:], *values.shape[1:]]
        slow, dims = self.slow, len(sides)
        others = [i for i in range(dims) if i != slow]
        values = values.reshape(
            len(run), sides[slow], *(sides[i] for i in others), *values.shape[1:]
        )
        order = [1 if i == slow else 2 + others.index(i) for i in range(dims)]
        order.insert(along, 0)
        part.reshape(split)[...] = values.transpose(*order, *range(dims + 1, values.ndim))

    def place(self, positions: np.ndarray, boxes: list[Box]) -> np.ndarray:
        """Return where lanes at positions [n] of a block are, int32 [dims, n]."""
        number, within = np.divmod(positions, self.tiles_a_box * self.tile)
        offset = np.stack([box.offset for box in boxes])[number]
        sides = np.stack([box.sides for box in boxes])[number]
        return np.stack(_place(offset.T, sides.T, within, self.slow, np.divmod)).astype(np.int32)


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
    """Return the dimension along which boxes are long: then the last one is contiguous in them."""
    return max(range(len(shape)), key=lambda i: (shape[i], -i))


def patch_sides(shape: tuple[int, ...], lanes: int) -> list[int]:
    """Return the sides of a patch of at least `lanes` lanes, nearly a cube, or of all there are."""
    sides = [1] * len(shape)
    while prod(sides) < min(lanes, prod(shape)):
        i = min((side, i) for i, side in enumerate(sides) if side < shape[i])[1]
        sides[i] = min(2 * sides[i], shape[i])
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
