"""How many lanes go together: a tile shares the cache, a block is one call of the device."""

from math import prod
from typing import Any

import jax

from gdjax import checks
from gdjax.descent import Result

TILE_BYTES = 2**15  # so that the state of a tile stays in the first-level cache of a core
FEWEST, MOST = 8, 1024
TILES_A_BLOCK = 64


def tile_width(tile: Any, lane: Result, lanes: int) -> int:
    """Return the lanes of a tile, a power of 2 if "auto".

    Args:
      tile: "auto" or a whole number of at least 1.
      lane: the shapes and dtypes of one lane's result.
      lanes: how many there are in all.

    Raises:
      TypeError, ValueError: `tile` is neither.
    """
    if tile != "auto":
        return checks.whole_number("tile", tile, least=1)
    lane_bytes = sum(prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(lane.state))
    fits = max(1, TILE_BYTES // lane_bytes)
    return min(max(FEWEST, _power_of_2_below(fits)), MOST, _power_of_2_above(lanes))


def tiles_in_block(block_size: int | None, width: int, lanes: int) -> int:
    """Return the tiles of a block, enough for `block_size` lanes, and no more than needed.

    Raises:
      TypeError, ValueError: `block_size` is not a whole number of at least 1.
    """
    needed = _power_of_2_above(-(-lanes // width))
    if block_size is None:
        return min(TILES_A_BLOCK, needed)
    block_size = checks.whole_number("block_size", block_size, least=1)
    return min(-(-block_size // width), needed)


def _power_of_2_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def _power_of_2_above(number: int) -> int:
    return 1 << (number - 1).bit_length()
