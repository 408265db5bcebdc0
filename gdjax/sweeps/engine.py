"""The engine: runs all lanes, block after block, and keeps what `Outcome` names of each."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from gdjax.descent import Result
from gdjax.sweeps.axes.concrete import check_concrete
from gdjax.sweeps.lanes import Lanes
from gdjax.sweeps.programs import Outcome, block_program
from gdjax.sweeps.progress import progress_bar
from gdjax.sweeps.tiles import tile_width, tiles_in_block

TRACED = "lane: it closes over a traced value, or sweep is called inside jit"


def run_lanes(
    lanes: Lanes, lane: Result, tile: Any, block_size: int | None, progress: bool | None
) -> Outcome:
    """Return the outcome of every lane, numpy arrays [lanes, ...] in the order of their numbers.

    `lane` holds the shapes and dtypes of one lane's result; the rest is as in `gdjax.sweep`.
    """
    width = tile_width(tile, lane, lanes.count)
    tiles = tiles_in_block(block_size, width, lanes.count)
    outcome: Outcome = jax.tree.map(
        lambda leaf: np.empty((lanes.count, *leaf.shape), leaf.dtype),
        Outcome(*(getattr(lane, name) for name in Outcome._fields)),
    )
    with progress_bar(lanes.count, progress) as bar:
        for numbers, block in _blocks(lanes, tiles, width):
            for rows, values in zip(jax.tree.leaves(outcome), jax.tree.leaves(block)):
                rows[numbers] = np.asarray(values)[: len(numbers)]
            bar.update(len(numbers))
    return outcome


def _blocks(lanes: Lanes, tiles: int, width: int) -> Iterator[tuple[np.ndarray, Outcome]]:
    """Yield the lane numbers and the outcome of each block; the next is under way meanwhile."""
    run_block = block_program(lanes.lane)
    under_way: list[tuple[np.ndarray, Outcome]] = []
    for first in range(0, lanes.count, tiles * width):
        numbers = np.arange(first, min(first + tiles * width, lanes.count), dtype=np.int32)
        # The last lane stands in for those that a tile lacks, so that none waits for a stranger.
        padded = np.pad(numbers, (0, tiles * width - len(numbers)), mode="edge")
        values = jax.tree.map(
            lambda leaf: leaf.reshape(tiles, width, *leaf.shape[1:]), lanes.values(padded)
        )
        in_use = np.int32(-(-len(numbers) // width))
        outcome = run_block(values, padded.reshape(tiles, width), in_use, lanes.key)
        check_concrete(TRACED, outcome)
        under_way.append((numbers, outcome))
        if len(under_way) == 2:
            yield under_way.pop(0)
    yield from under_way
