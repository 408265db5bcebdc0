"""The compiled programs of a lane function, found again by it."""

from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from gdjax.sweeps.block import Done, Fresh, Layout, Packings, packings, run_block
from gdjax.sweeps.lanes import Lane
from gdjax.sweeps.traced_lane import Keep, TracedLane, traced_lane
from gdjax.trees import PyTree

RESTING = 2**22  # bytes of a room that is kept between two sweeps


class BlockProgram:
    """A compiled block, and rooms that it writes into: fresh memory would cost more than most."""

    def __init__(self, compiled: Any, constants: list[Any], shapes: Done, device: Any) -> None:
        """Take what is compiled, its first argument, and what it returns on which device."""
        self.compiled, self.constants = compiled, constants
        self.shapes, self.device = shapes, device
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
        if sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.shapes)) > RESTING:
            self.rooms.clear()


class LaneProgram:
    """A lane function with what has been traced and compiled of it."""

    def __init__(self, lane: Lane, keep: Keep) -> None:
        """Take the lane, and the function of its outcome to what is kept of it."""
        self.lane, self.keep = lane, keep
        self._traced: dict[Any, tuple[TracedLane, Packings]] = {}
        self._compiled: dict[Any, BlockProgram] = {}

    def traced(self, sources: PyTree, key: Any) -> tuple[TracedLane, Packings]:
        """Return the lane traced for sources of these types, and how its leaves are packed."""
        kinds = signature(sources, key)
        if kinds not in self._traced:
            traced = traced_lane(self.lane, self.keep, sources, key)
            self._traced[kinds] = traced, packings(traced, self.lane.dims, sources, key)
        return self._traced[kinds]

    def compiled(
        self, layout: Layout, options: dict[str, Any], device: Any, args: tuple[Any, ...]
    ) -> BlockProgram:
        """Return `run_block` compiled for these arguments: `sources`, `key` and the others."""
        kinds = layout, device, signature(*args)
        if kinds not in self._compiled:
            traced, packing = self.traced(*args[:2])
            constants = jax.device_put(traced.constants, device)
            shapes = packing.done(layout, fresh=isinstance(args[3], Fresh))

            @partial(jax.jit, donate_argnums=0)
            def program(room: Done, constants: list[Any], *args: Any) -> Done:
                opened = traced._replace(constants=constants)
                return run_block(opened, layout, packing, room, *args)

            compiled = _compiled(program.lower(shapes, constants, *args), options)
            self._compiled[kinds] = BlockProgram(compiled, constants, shapes, device)
        return self._compiled[kinds]


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
