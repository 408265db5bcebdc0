"""Points gathered in cells, without comparing each with each.

Cells are of the coordinates themselves where these are few, else of a fixed random projection,
which keeps distances but for a small factor (Johnson and Lindenstrauss, Extensions of Lipschitz
mappings into a Hilbert space, 1984). A cell is found again by a hash of 64 bits: among 10^7 cells
two share one with a probability of 3e-6.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from gdjax.basins.ends import parts

MOST_RAW = 8  # coordinates that are cut into cells themselves
PROJECTED = 6
SHIFT = 0.3819660112501051  # of a cell: zeros, which are common, shall not lie on its border
BLOCK = 2**17  # points that are sorted together, which caches hold


class Cells(NamedTuple):
    """The cells that points lie in."""

    of: np.ndarray  # int32 [points] the cell of each
    first: np.ndarray  # int [cells] the point that stands for each


def features(scaled: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return what points [n, dim] are cut into cells by, [n, at most MOST_RAW]."""
    dim = scaled.shape[1]
    if dim <= MOST_RAW:
        return scaled
    directions = np.random.default_rng(seed).standard_normal((dim, PROJECTED)) / dim**0.5
    projected = [scaled[part] @ directions for part in parts(len(scaled), dim)]
    return np.concatenate(projected) if projected else np.zeros((0, PROJECTED))


def gathered(
    columns: Iterable[np.ndarray], width: float, preferred: Iterable[np.ndarray], apart: np.ndarray
) -> Cells:
    """Gather points in cells.

    Args:
      columns: of coordinates, each [n].
      width: of a cell.
      preferred: columns [n]; the point that is least in the first stands for its cell, of several
        the one that is least in the second, and so on.
      apart: int [n]; points in which it differs share no cell.
    """
    columns, preferred, count = list(columns), list(preferred), len(apart)
    blocks = [slice(first, first + BLOCK) for first in range(0, count, BLOCK)]

    def within(block: slice) -> tuple[np.ndarray, Cells]:
        keys = _keys([column[block] for column in columns], width, apart[block])
        cells = _sorted_out(keys, [column[block] for column in preferred])
        return keys[cells.first], Cells(cells.of, cells.first + block.start)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(within, blocks))
    if not found:
        return Cells(np.zeros(0, np.int32), np.zeros(0, int))
    first = np.concatenate([cells.first for _, cells in found])
    joint = _sorted_out(
        np.concatenate([keys for keys, _ in found]), [column[first] for column in preferred]
    )
    of, before = np.empty(count, np.int32), 0
    for block, (_, cells) in zip(blocks, found):
        of[block] = joint.of[before : before + len(cells.first)][cells.of]
        before += len(cells.first)
    return Cells(of, first[joint.first])


def _keys(columns: Sequence[np.ndarray], width: float, apart: np.ndarray) -> np.ndarray:
    keys = _mixed(apart.astype(np.uint64))
    for column in columns:
        cell = np.floor(column / width + SHIFT)
        keys = _mixed(keys ^ np.clip(cell, -(2.0**62), 2.0**62).astype(np.int64).view(np.uint64))
    return keys


def _mixed(keys: np.ndarray) -> np.ndarray:
    """Return a permutation of 64-bit numbers that leaves no pattern: splitmix64."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def _sorted_out(keys: np.ndarray, preferred: Sequence[np.ndarray]) -> Cells:
    order = np.argsort(keys)
    ordered = keys[order]
    opens = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    first, number = np.flatnonzero(opens), np.cumsum(opens) - 1
    tied = np.arange(len(keys))  # places in the order
    for column in preferred:
        values = np.nan_to_num(column[order[tied]], nan=np.inf)
        least = np.minimum.reduceat(values, _starts(number[tied], len(first)))
        tied = tied[values == least[number[tied]]]
        if len(tied) == len(first):
            break
    of = np.empty(len(keys), np.int32)
    of[order] = number
    return Cells(of, order[tied[_starts(number[tied], len(first))]])


def _starts(number: np.ndarray, count: int) -> np.ndarray:
    """Return where each of the numbers 0, 1, … begins in an ascending array of all of them."""
    return np.searchsorted(number, np.arange(count))
