"""What is known of the devices: how lanes lie in them, and how many go together."""

import os
from collections.abc import Sequence
from math import prod
from typing import Any

import jax

from gdjax import checks
from gdjax.lanewise import is_small
from gdjax.sweeps.block import Layout, Packings
from gdjax.sweeps.boxes import slowest
from gdjax.sweeps.traced_lane import TracedLane

BLOCK_LANES = 32768  # so that the call of a block takes little of its time
BLOCK_BYTES = 2**25
# Of lanes of a few numbers: before jax 0.12, XLA calls each of a tile's loops apart.
TILE_LANES = 128 if jax.__version_info__ >= (0, 12) else 512
TILE_BYTES = 2**17  # of lanes with larger arrays, in the second-level cache of a core


def checked_devices(devices: Any) -> list[jax.Device]:
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


def workers_of(workers: Any, devices: Sequence[jax.Device]) -> int:
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
    tile: Any,
    block_size: Any,
    traced: TracedLane,
    packing: Packings,
    shape: tuple[int, ...],
    device: jax.Device,
) -> Layout:
    """Return how the blocks of a sweep are computed on a device.

    Raises:
      TypeError, ValueError: `tile` or `block_size` is not a whole number of at least 1.
    """
    if block_size is not None:
        block_size = checks.whole_number("block_size", block_size, least=1)
    if tile != "auto":
        tile = checks.whole_number("tile", tile, least=1)
    lanes = block_size or max(1, min(BLOCK_LANES, BLOCK_BYTES // _lane_bytes(packing)))
    width, *rest = _on_cpu(traced, packing) if device.platform == "cpu" else (lanes, -1, 8, 1)
    if tile != "auto":
        width = tile
    return Layout(width, -(-lanes // width), slowest(shape), *rest)


def _on_cpu(traced: TracedLane, packing: Packings) -> tuple[int, int, int, int]:
    """Return the lanes of a tile, their axis, and the turns between looks and in the loop's body."""
    lane_bytes = _bytes(packing.state.leaves)
    fitting = 1 << max(0, (TILE_BYTES // lane_bytes).bit_length() - 1)
    if traced.at_once:
        return min(fitting, 64), 0, 1, 1
    avals = [out.aval for operation in traced.operations[2] for out in operation.outputs]
    if all(map(is_small, avals)):
        # Of two turns, the first writes where the second does not read: XLA copies nothing.
        return TILE_LANES, -1, 4, 2
    if any(operation.primitive.name == "dot_general" for operation in traced.operations[2]):
        return 1, 0, 1, 1
    return min(fitting, 128), -1, 1, 1


def _lane_bytes(packing: Packings) -> int:
    return _bytes(packing.state.leaves) + _bytes(packing.kept.leaves)


def _bytes(leaves: Sequence[Any]) -> int:
    return max(1, sum(prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves))
