"""The glance at the ends of many lanes, vectorised over them."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.diagnosis.brief import Brief, brief
from gdjax.diagnosis.diagnose import at_a_glance
from gdjax.diagnosis.end import End
from gdjax.lanewise import Atom, Program, Value, are_small, evaluate, read, traced, whole
from gdjax.sweeps.closer import NUMBERS, power_of_two
from gdjax.sweeps.collect import together
from gdjax.sweeps.lane_program import signature
from gdjax.sweeps.lanes import Lane, Lanes
from gdjax.sweeps.looks import looker
from gdjax.sweeps.threads import in_threads
from gdjax.sweeps.traced_lane import MOST_COMPILED_IN
from gdjax.trees import PyTree, size

GLANCES = 2**17  # lanes of a call
TILE = 2**12  # of them that caches hold
MOST_NUMBERS = 4000  # that a glance computes, each in a loop of its own


def glances(lanes: Lanes, shared: tuple, ends: End, workers: int) -> Brief:
    """Return a glance at the ends of all lanes [lanes]; what is the same for all is one number.

    `shared` are the sources and the key of the lanes.
    """
    count = lanes.count
    sources, key = shared
    outputs, structure, program = _glances(lanes.lane, lanes.shape).at(sources, key, ends)
    room = power_of_two(NUMBERS // (size(ends.params) // count))
    each = min(power_of_two(count // workers), GLANCES, room)
    own = [x.aval for x in outputs if isinstance(x, Value)]
    arrays = together(own, (count,))

    def part(first: int) -> None:
        first = min(first, count - each)
        some = slice(first, first + each)
        own = jax.tree.map(lambda leaf: leaf[some], ends)
        numbers = np.arange(first, first + each, dtype=np.int32)
        for rows, found in zip(arrays, program(shared, (numbers, own))):
            rows[some] = found

    in_threads(part, range(0, count, each), workers)
    found = iter(arrays)
    leaves = [next(found) if isinstance(x, Value) else np.asarray(x.value) for x in outputs]
    return jax.tree.unflatten(structure, leaves)


class _Compiled(NamedTuple):
    """The glance at lanes of some types."""

    outputs: tuple[Atom, ...]  # what is known is the same for all lanes
    structure: Any  # of the look that they are the leaves of
    program: Callable[..., list[Any]]  # of the sources and key, and numbers and ends, to the others


class _Glances:
    """The glance at many lanes: compiled as the turns of a sweep are, and its constants apart."""

    def __init__(self, lane: Lane, shape: tuple[int, ...]) -> None:
        """Take the lane, and the shape of the sweep."""
        self.look = looker(lane, shape, lambda d, end: brief(d, *at_a_glance(d, end)))
        self.compiled: dict[Any, _Compiled] = {}

    def at(self, sources: PyTree, key: Any, ends: End) -> _Compiled:
        """Return the glance for lanes of these types."""
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), ends)
        kinds = signature(sources, key, shapes)
        if kinds not in self.compiled:
            number = jax.ShapeDtypeStruct((), jnp.int32)
            program, out = traced(self.look, sources, key, number, shapes)
            self.compiled[kinds] = _compiled_glance(program, jax.tree.structure(out))
        return self.compiled[kinds]


@lru_cache(maxsize=32)
def _glances(lane: Lane, shape: tuple[int, ...]) -> _Glances:
    return _Glances(lane, shape)


def _compiled_glance(program: Program, structure: Any) -> _Compiled:
    program, constants = program.without_dead_ends().opened(MOST_COMPILED_IN)
    numbers = [v.aval for operation in program.operations for v in operation.outputs]
    entrywise = are_small(numbers, MOST_NUMBERS)
    own = [atom for atom in program.outputs if isinstance(atom, Value)]

    def of_lane(constants: list, shared: PyTree, lane: PyTree) -> list[Any]:
        leaves = jax.tree.leaves((constants, shared, lane))
        given = {v.number: x for v, x in zip(program.inputs, leaves, strict=True)}
        found = evaluate(program.operations, given, entrywise)
        return [whole(read(atom, found)) for atom in own]

    @jax.jit
    def of_lanes(constants: list, shared: PyTree, lanes: PyTree) -> list[Any]:
        look = jax.vmap(lambda lane: of_lane(constants, shared, lane))
        width = min(TILE, len(jax.tree.leaves(lanes)[0]))
        tiles = jax.tree.map(lambda leaf: leaf.reshape(-1, width, *leaf.shape[1:]), lanes)
        return [rows.reshape(-1, *rows.shape[2:]) for rows in lax.map(look, tiles)]

    return _Compiled(program.outputs, structure, partial(of_lanes, constants))
