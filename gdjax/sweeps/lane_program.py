"""The compiled programs of a lane function, found again by it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from gdjax.sweeps.block import (
    Done,
    Fresh,
    Layout,
    Packings,
    Rounds,
    Waiting,
    packings,
    run_block,
)
from gdjax.sweeps.lanes import Lane
from gdjax.sweeps.traced_lane import Keep, TracedLane, traced_lane
from gdjax.trees import PyTree

RESTING = 2**23  # bytes of a room that is kept between two sweeps


class BlockProgram:
    """A compiled block, and rooms that it writes into: fresh memory would cost more than most."""

    def __init__(self, compiled: Any, constants: list[Any], shapes: Done, device: Any) -> None:
        """Take what is compiled, its first argument, and what it returns on which device."""
        self.compiled, self.constants = compiled, constants
        self.shapes, self.device = shapes, device
        room = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
        self.is_little = room <= RESTING
        self.rooms: list[Done] = []

    def __call__(self, *args: Any) -> Done:
        """Return how the lanes of a block stand after a round, to be given back when read."""
        try:
            room = self.rooms.pop()  # in one step, since several threads do so
        except IndexError:
            zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self.shapes)
            room = jax.device_put(zeros, self.device, may_alias=False)
        return self.compiled(room, self.constants, *args)

    def give_back(self, done: Done) -> None:
        """Take back what a call returned."""
        self.rooms.append(done)

    def rest(self) -> None:
        """Keep no more than little memory between two sweeps."""
        if not self.is_little:
            self.rooms.clear()


class LaneProgram:
    """A lane function with what has been traced and compiled of it."""

    def __init__(self, lane: Lane, keep: Keep) -> None:
        """Take the lane, and the function of its outcome to what is kept of it."""
        self.lane, self.keep = lane, keep
        self._traced: dict[Any, tuple[TracedLane, Packings]] = {}
        self._compiled: dict[Any, BlockProgram] = {}

    def traced(
        self, sources: PyTree, key: Any, *, careful: bool = False
    ) -> tuple[TracedLane, Packings]:
        """Return the lane traced for sources of these types, and how its leaves are packed.

        `careful` is whether a lane is so from its beginning, however much that costs.
        """
        kinds = careful, signature(sources, key)
        if kinds not in self._traced:
            if careful:
                traced = self.traced(sources, key)[0].from_the_beginning
            else:
                traced = traced_lane(self.lane, self.keep, sources, key)
            self._traced[kinds] = traced, packings(traced, self.lane.dims, sources, key)
        return self._traced[kinds]

    def is_compiled(self, layout: Layout, device: Any, shared: tuple[PyTree, Any]) -> bool:
        """Return whether there are programs for any number of lanes."""
        return _kinds(Fresh, layout, device, shared, careful=False) in self._compiled

    def compiled(
        self,
        blocks: Sequence[type[Fresh] | type[Waiting]],
        layout: Layout,
        options: dict[type, dict[str, Any]],
        device: Any,
        shared: tuple[PyTree, Any],
        *,
        careful: bool,
    ) -> dict[type, BlockProgram]:
        """Return `run_block` compiled for each of these kinds of blocks, all at the same time.

        `shared` are the sources and the key of the lanes.
        """
        kinds = {b: _kinds(b, layout, device, shared, careful=careful) for b in blocks}
        missing = [block for block in blocks if kinds[block] not in self._compiled]
        if missing:
            lane = self.traced(*shared, careful=careful)
            found = _programs(missing, lane, self.lane.dims, layout, options, device, shared)
            self._compiled |= {kinds[block]: program for block, program in found.items()}
        return {block: self._compiled[kinds[block]] for block in blocks}


def _programs(
    blocks: Sequence[type[Fresh] | type[Waiting]],
    lane: tuple[TracedLane, Packings],
    dims: int,
    layout: Layout,
    options: dict[type, dict[str, Any]],
    device: Any,
    shared: tuple[PyTree, Any],
) -> dict[type, BlockProgram]:
    traced, packing = lane
    constants = jax.device_put(traced.constants, device)

    @partial(jax.jit, donate_argnums=0)
    def program(room: Done, constants: list[Any], *args: Any) -> Done:
        return run_block(traced._replace(constants=constants), layout, packing, room, *args)

    whole = partial(jax.ShapeDtypeStruct, dtype=np.int32)
    here = SingleDeviceSharding(device)  # else a lane of a few numbers would be compiled elsewhere
    rooms = {
        block: jax.tree.map(
            lambda leaf: leaf.update(sharding=here), packing.done(layout, fresh=block is Fresh)
        )
        for block in blocks
    }
    with ThreadPoolExecutor(len(blocks)) as threads:
        compiled = {}
        for block in blocks:  # while it is traced, the one before is compiled
            lanes = block.shapes(layout, dims, packing.state.shapes(layout.lanes))
            args = *shared, whole((dims,)), lanes, whole((len(Rounds._fields) + 1,))
            lowered = program.lower(rooms[block], constants, *args)
            compiled[block] = threads.submit(_compiled, lowered, options[block])
    return {
        block: BlockProgram(compiled[block].result(), constants, rooms[block], device)
        for block in blocks
    }


def _kinds(
    block: type, layout: Layout, device: Any, shared: tuple[PyTree, Any], *, careful: bool
) -> Any:
    return block, careful, layout, device, signature(*shared)


def _compiled(lowered: Any, options: dict[str, Any]) -> Any:
    try:
        return lowered.compile(options)
    except jax.errors.JaxRuntimeError as error:
        # They only make it faster, and come and go with the versions of XLA.
        if "No such compile option" not in str(error):
            raise
        return lowered.compile()


# As many as a session alternates between; more would only keep what dead lambdas close over.
@lru_cache(maxsize=32)
def lane_program(lane: Lane, keep: Keep) -> LaneProgram:
    """Return the programs of a lane function."""
    return LaneProgram(lane, keep)


def signature(*args: Any) -> Any:
    """Return what a trace depends on: the types of arguments and the settings of JAX."""
    leaves, structure = jax.tree.flatten(args)
    types = tuple((np.shape(leaf), leaf.dtype) for leaf in leaves)
    settings = jax.config
    return (
        structure,
        types,
        settings.jax_enable_x64,
        settings.jax_default_matmul_precision,
        settings.jax_debug_nans,
    )
