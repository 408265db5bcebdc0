"""What is known of the devices: how lanes lie in them, and how many go together."""

import os
from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import jax
import numpy as np

from gdjax import checks
from gdjax.sweeps.block import Layout, Packings
from gdjax.sweeps.boxes import slowest
from gdjax.sweeps.patience import TURNS_A_LANE
from gdjax.sweeps.traced_lane import TracedLane
from gdjax.trees import PyTree

Device = Any  # jax.Device, which pyright does not take for a type

BLOCK_LANES = 131072  # so that the call of a block takes little of its time
BLOCK_BYTES = 2**25
# Before jax 0.12, XLA calls each of a tile's loops apart, which narrow tiles pay for.
CALLS_EACH_LOOP = jax.__version_info__ < (0, 12)
# The lanes of a tile on a CPU, as experiments/benchmarks measures them.
FEW_NUMBERS = 256 if CALLS_EACH_LOOP else 128
LOOK = 4 if CALLS_EACH_LOOP else 2  # turns between two looks at whether any of them runs
MANY_NUMBERS = 16
INNER_LOOPS = 32 if CALLS_EACH_LOOP else 1  # lanes of a tile wait for the slowest of theirs
ABREAST = 64 if CALLS_EACH_LOOP else 32  # of larger arrays with the lanes last
CACHE_BYTES = 2**20  # that what a tile computes at once should fit into
TILE_BYTES = 2**24  # of its lanes, beyond which caches do not hold them
SMALL_LOOP = 1024  # bytes that a loop carries at most of which XLA makes one function
CODE_BYTES = 4  # that it carries of each lane, beside its parameters
VECTOR = 16  # lanes, of the widest vectors of CPUs
FEW_BYTES = 2**16  # that a call takes as fast from numpy
SECONDS_A_BLOCK = 4e-3  # or more, where there are enough lanes for all workers
SECONDS_A_NUMBER = 2e-11  # that a turn computes, roughly
BLOCKS_A_WORKER = 3  # so that none waits long for the last one
EVEN = 1.1  # of the lanes, the room that so many blocks may have


def checked_devices(devices: Any) -> list[Device]:
    """Return the devices of a sweep.

    Raises:
      TypeError: they are not devices.
      ValueError: there is none, or they are of several kinds.
    """
    if devices is None:
        default = jax.config.jax_default_device
        return [
            default if isinstance(default, jax.Device) else jax.local_devices(backend=default)[0]
        ]
    if not isinstance(devices, Sequence) or not all(isinstance(d, jax.Device) for d in devices):
        raise TypeError(f"devices: expected a list of jax devices, got {devices!r}")
    kinds = {device.platform for device in devices}
    if len(kinds) != 1:
        raise ValueError(f"devices: expected devices of one kind, got {devices!r}")
    return list(devices)


def put_on(device: Device, tree: PyTree) -> PyTree:
    """Return arrays on a device; a few numbers in numpy arrays are taken faster by each call."""
    leaves = jax.tree.leaves(tree)
    in_numpy = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    is_little = in_numpy and sum(leaf.nbytes for leaf in leaves) <= FEW_BYTES
    return tree if is_little else jax.device_put(tree, device)


def workers_of(workers: Any, devices: Sequence[Device]) -> int:
    """Return how many blocks a device computes at a time.

    Raises:
      TypeError, ValueError: `workers` is not a whole number of at least 1.
    """
    if workers is not None:
        return checks.whole_number("workers", workers, least=1)
    if devices[0].platform != "cpu":
        return 2  # one is computed while the other is collected
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // len(devices))


def block_layout(
    tile: int | Literal["auto"],
    block_size: int | None,
    traced: TracedLane,
    packing: Packings,
    shape: tuple[int, ...],
    device: Device,
    workers: int,
) -> Layout:
    """Return how the blocks of a sweep are computed on a device, by so many workers in all.

    Raises:
      TypeError, ValueError: `tile` or `block_size` is not a whole number of at least 1.
    """
    if block_size is not None:
        block_size = checks.whole_number("block_size", block_size, least=1)
    if tile != "auto":
        tile = min(checks.whole_number("tile", tile, least=1), prod(shape))
    lanes = block_size or max(1, min(BLOCK_LANES, BLOCK_BYTES // _lane_bytes(packing)))
    width, axis, turns, unrolled, abreast = lanes, -1, 8, 1, False
    if device.platform == "cpu":
        width, axis, turns, unrolled, abreast = _on_cpu(traced, packing, prod(shape))
    if tile == "auto":
        # Others would have other roundings with another number of workers.
        share = -(-prod(shape) // workers) if traced.entrywise else prod(shape)
        whole = traced.entrywise or abreast or device.platform != "cpu"
        width = _halved(width, max(share, VECTOR if whole else 1))
    else:
        # XLA compiles what is left of a vector to other code, with other roundings.
        width = -(-tile // VECTOR) * VECTOR if traced.entrywise else tile
    return Layout(width, -(-lanes // width), slowest(shape), axis, turns, unrolled, abreast)


def compiler_options(
    traced: TracedLane, layout: Layout, device: Device, *, careful: bool
) -> dict[str, Any]:
    """Return the options of XLA that suit tiles whose lanes are careful, or are not."""
    if device.platform != "cpu":
        return {}
    options: dict[str, Any] = {"xla_cpu_prefer_vector_width": 512}  # where the CPU has as wide ones
    if traced.entrywise:
        # It cuts long sums into short ones. Here nothing is summed but the lanes that run.
        options["xla_disable_hlo_passes"] = "tree_reduction_rewriter"
        # Else it copies what two kernels read. From jax 0.12 on it takes minutes to compile so, and
        # before, it forgets to copy the point before, so that lanes never end: careful ones, and
        # those of a small loop.
        wide = CODE_BYTES * layout.tile >= SMALL_LOOP
        region_analysis = CALLS_EACH_LOOP and wide and not careful
        options["xla_cpu_copy_insertion_use_region_analysis"] = region_analysis
    elif layout.abreast and CALLS_EACH_LOOP:
        # XLA would drop the barriers before it decides what to compute again.
        options["xla_disable_hlo_passes"] = "cse_barrier_expander"
    return options


def seconds_a_turn(traced: TracedLane) -> float:
    """Return what a turn of a lane takes, before any was timed."""
    return SECONDS_A_NUMBER * traced.work


def lanes_of_a_block(layout: Layout, traced: TracedLane, lanes: int, workers: int) -> int:
    """Return how many lanes a block gets: each worth its call, and as many for each worker."""
    tiles = -(-lanes // layout.tile)
    worth = SECONDS_A_BLOCK / (TURNS_A_LANE * seconds_a_turn(traced) * layout.tile)
    for blocks in range(BLOCKS_A_WORKER * workers, workers, -workers):
        each = -(-tiles // blocks)
        if worth <= each <= layout.tiles and each * blocks <= EVEN * tiles:
            return each * layout.tile
    return min(-(-tiles // workers), layout.tiles) * layout.tile


def _halved(width: int, lanes: int) -> int:
    """Return the width of a tile halved as long as it has room for so many lanes."""
    while width >= 2 * lanes:
        width //= 2
    return width


def _on_cpu(traced: TracedLane, packing: Packings, lanes: int) -> tuple[int, int, int, int, bool]:
    """Return the last fields of a layout, and before them the lanes of a tile."""
    if traced.entrywise:
        held = max(VECTOR, TILE_BYTES // _lane_bytes(packing))  # less, of long histories
        return _halved(FEW_NUMBERS, min(held, FEW_NUMBERS)), -1, LOOK, 1, False
    few = ABREAST * _lane_bytes(packing) <= TILE_BYTES
    if traced.abreast and few:
        # Of two turns, the first writes where the second does not read: XLA copies nothing.
        vectors = max(1, CACHE_BYTES // (VECTOR * _largest(traced)))
        # With care, copies are little beside the rest, and one turn takes less time to compile.
        unrolled = 1 if traced.careful else 2
        return min(ABREAST, VECTOR * vectors, lanes), -1, unrolled, unrolled, True
    names = {operation.primitive.name for operation in traced.fresh.operations[2]}
    width = INNER_LOOPS if "while" in names else MANY_NUMBERS
    return width if few else 1, 0, 1, 1, False


def _largest(traced: TracedLane) -> int:
    """Return the bytes of the largest array that a turn of a lane computes."""
    outputs = (v.aval for operation in traced.fresh.operations[2] for v in operation.outputs)
    return max(aval.size * aval.dtype.itemsize for aval in outputs)


def _lane_bytes(packing: Packings) -> int:
    return _bytes(packing.state.leaves) + _bytes(packing.kept.leaves)


def _bytes(leaves: Sequence[Any]) -> int:
    return max(1, sum(prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves))
