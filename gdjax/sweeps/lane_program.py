"""The compiled programs of a lane function, found again by it."""

from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from gdjax.sweeps.block import Done, Layout, Packings, packings, run_block
from gdjax.sweeps.lanes import Lane
from gdjax.sweeps.traced_lane import Keep, TracedLane, traced_lane
from gdjax.trees import PyTree


class LaneProgram:
    """A lane function with what has been traced and compiled of it."""

    def __init__(self, lane: Lane, keep: Keep) -> None:
        """Take the lane, and the function of its outcome to what is kept of it."""
        self.lane, self.keep = lane, keep
        self._traced: dict[Any, tuple[TracedLane, Packings]] = {}
        self._compiled: dict[Any, Any] = {}

    def traced(self, sources: PyTree, key: Any) -> tuple[TracedLane, Packings]:
        """Return the lane traced for sources of these types, and how its leaves are packed."""
        kinds = signature(sources, key)
        if kinds not in self._traced:
            traced = traced_lane(self.lane, self.keep, sources, key)
            self._traced[kinds] = traced, packings(traced, self.lane.dims, sources, key)
        return self._traced[kinds]

    def compiled(self, layout: Layout, options: dict[str, Any], args: tuple[Any, ...]) -> Any:
        """Return `run_block` compiled for these arguments: `sources`, `key` and the others."""
        devices = tuple(getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(args))
        kinds = layout, devices, signature(*args)
        if kinds not in self._compiled:
            traced, packing = self.traced(*args[:2])
            constants = jax.device_put(traced.constants, next(filter(None, devices)))

            @jax.jit
            def program(constants: list[Any], *args: Any) -> Done:
                return run_block(traced._replace(constants=constants), layout, packing, *args)

            compiled = _compiled(program.lower(constants, *args), options)
            self._compiled[kinds] = partial(compiled, constants)
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
