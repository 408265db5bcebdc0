"""The diagnosis of all lanes of a sweep.

A glance suffices for most lanes, and costs little where it is vectorised over them: least where a
lane ends, and there the sweep takes it if there are few parameters. The others are packed together
and looked at more closely; only those that this does not settle go on.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.descent import Descent
from gdjax.descent.description import canonical
from gdjax.diagnosis import Diagnosis
from gdjax.diagnosis.brief import Brief, brief, opened
from gdjax.diagnosis.diagnose import Look, at_a_glance, looked_closer, on_the_way
from gdjax.diagnosis.end import End
from gdjax.diagnosis.glance import of_minimum
from gdjax.lanewise import Atom, Program, Value, evaluate, is_small, read, traced, whole
from gdjax.sweeps.collect import together
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.keys import with_keys
from gdjax.sweeps.lane_program import signature
from gdjax.sweeps.lanes import Lane, Lanes, place_of
from gdjax.sweeps.threads import with_settings
from gdjax.sweeps.traced_lane import MOST_COMPILED_IN
from gdjax.sweeps.turns import Outcome
from gdjax.sweeps.watch import Watched, end_of
from gdjax.trees import PyTree, size

GLANCES = 2**17  # lanes of a call
TILE = 2**12  # of them that caches hold
CLOSER = 2**8  # lanes of a call
NUMBERS = 2**20  # of parameters in a call
MOST_NUMBERS = 4000  # that a glance computes, each in a loop of its own


def diagnosed(
    lanes: Lanes, shared: tuple, outcome: Outcome, watched: Watched, workers: int
) -> Diagnosis:
    """Return the diagnosis of each lane, numpy arrays of the sweep's shape.

    `shared` are the sources and the key of the lanes, on the device that looks at them.
    """
    rank, count = len(lanes.shape), lanes.count

    def in_line(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[rank:]), tree)

    glance = watched.glance
    peak = watched.peak if glance is None else glance.rest
    ends = end_of(outcome, watched.opt_state, peak)
    work = _Work(lanes.count, shared, in_line(ends), workers)
    glance = in_line(glance) or work.glances(_glances(lanes.lane, lanes.shape))
    settled, minimum = opened(glance, outcome.grad_norm.reshape(count))
    left = np.flatnonzero(np.broadcast_to(~settled, (count,)))
    diagnosis = jax.tree.map(
        lambda leaf: _spread(leaf, count, writable=len(left) > 0), of_minimum(minimum)
    )
    for program in _looks(lanes.lane, lanes.shape):
        if len(left):
            looks = work.looks(program, left)
            for rows, own in zip(diagnosis, looks.diagnosis):
                rows[left] = own
            left = left[~looks.settled]
    return jax.tree.map(lambda leaf: leaf.reshape(lanes.shape), diagnosis)


def _spread(leaf: np.ndarray, count: int, writable: bool) -> np.ndarray:
    """Return an array [count]; what is the same for all lanes is one number, unless `writable`."""
    if leaf.shape:
        return leaf
    if not writable:
        return np.broadcast_to(leaf, (count,))
    # The system gives zeros for nothing.
    return np.full(count, leaf) if leaf else np.zeros(count, leaf.dtype)


Looker = Callable[[Any, Any, Any, End], Any]  # of sources, key, number and end


def _looker(lane: Lane, shape: tuple[int, ...], look: Callable[[Descent, End], Any]) -> Looker:
    """Return a look at a lane's end as a function of its number."""

    def of_lane(sources: PyTree, key: Any, number: Any, end: End) -> Look:
        d = canonical(lane.descent(lane.values(sources, place_of(number, shape)), number, key))
        opt_state = with_keys(end.opt_state, d.optimizer.init(d.params))
        return look(d, end._replace(opt_state=opt_state))

    return of_lane


@lru_cache(maxsize=32)
def _looks(lane: Lane, shape: tuple[int, ...]) -> tuple[Callable[..., Look], ...]:
    """Return the compiled closer looks, at lanes [n] of these numbers and ends."""
    return tuple(
        ConstantsApart(jax.vmap(_looker(lane, shape, look), in_axes=(None, None, 0, 0)))
        for look in (looked_closer, on_the_way)
    )


class CompiledGlance(NamedTuple):
    """The glance at lanes of some types."""

    outputs: tuple[Atom, ...]  # what is known is the same for all lanes
    structure: Any  # of the look that they are the leaves of
    program: Callable[..., list[Any]]  # of the sources and key, and numbers and ends, to the others


class Glances:
    """The glance at many lanes: compiled as the turns of a sweep are, and its constants apart."""

    def __init__(self, lane: Lane, shape: tuple[int, ...]) -> None:
        """Take the lane, and the shape of the sweep."""
        self.look = _looker(lane, shape, lambda d, end: brief(d, *at_a_glance(d, end)))
        self.compiled: dict[Any, CompiledGlance] = {}

    def at(self, sources: PyTree, key: Any, ends: End) -> CompiledGlance:
        """Return the glance for lanes of these types."""
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), ends)
        kinds = signature(sources, key, shapes)
        if kinds not in self.compiled:
            number = jax.ShapeDtypeStruct((), jnp.int32)
            program, out = traced(self.look, sources, key, number, shapes)
            self.compiled[kinds] = _compiled_glance(program, jax.tree.structure(out))
        return self.compiled[kinds]


@lru_cache(maxsize=32)
def _glances(lane: Lane, shape: tuple[int, ...]) -> Glances:
    return Glances(lane, shape)


def _compiled_glance(program: Program, structure: Any) -> CompiledGlance:
    program, constants = program.without_dead_ends().opened(MOST_COMPILED_IN)
    numbers = [v.aval for operation in program.operations for v in operation.outputs]
    entrywise = all(map(is_small, numbers)) and sum(prod(a.shape) for a in numbers) <= MOST_NUMBERS
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

    return CompiledGlance(program.outputs, structure, partial(of_lanes, constants))


class _Work:
    """The ends of all lanes, and the threads that look at them."""

    def __init__(self, count: int, shared: tuple, ends: End, workers: int) -> None:
        self.ends, self.count, self.shared, self.workers = ends, count, shared, workers
        self.room = self._power_of_two(NUMBERS // (size(ends.params) // count))

    def glances(self, look: Glances) -> Brief:
        """Return a glance at all lanes; what is the same for all is one number."""
        sources, key = self.shared
        outputs, structure, program = look.at(sources, key, self.ends)
        each = min(self._power_of_two(self.count // self.workers), GLANCES, self.room)
        own = [x.aval for x in outputs if isinstance(x, Value)]
        arrays = together(own, (self.count,))

        def part(first: int) -> None:
            first = min(first, self.count - each)
            lanes = slice(first, first + each)
            ends = jax.tree.map(lambda leaf: leaf[lanes], self.ends)
            numbers = np.arange(first, first + each, dtype=np.int32)
            for rows, found in zip(arrays, program(self.shared, (numbers, ends))):
                rows[lanes] = found

        self._in_threads(part, range(0, self.count, each))
        found = iter(arrays)
        leaves = [next(found) if isinstance(x, Value) else np.asarray(x.value) for x in outputs]
        return jax.tree.unflatten(structure, leaves)

    def looks(self, program: Callable[..., Look], numbers: np.ndarray) -> Look:
        """Return a closer look at the lanes of these numbers."""
        each = min(CLOSER, self.room, 2 * self._power_of_two(len(numbers) - 1))
        parts: dict[int, Look] = {}

        def part(first: int) -> None:
            some = numbers[first : first + each].astype(np.int32)
            padded = np.concatenate([some, np.repeat(some[-1:], each - len(some))])
            ends = jax.tree.map(lambda leaf: leaf[padded], self.ends)
            found = program(*self.shared, padded, ends)
            parts[first] = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(some)], found)

        firsts = range(0, len(numbers), each)
        self._in_threads(part, firsts)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *(parts[i] for i in firsts))

    @staticmethod
    def _power_of_two(most: int) -> int:
        """Return the largest power of two up to `most`, at least 1: calls of few shapes."""
        return 1 << max(most.bit_length() - 1, 0)

    def _in_threads(self, part: Callable[[int], None], firsts: range) -> None:
        workers = min(self.workers, len(firsts))
        if workers == 1:
            for first in firsts:
                part(first)
            return
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(with_settings(part), firsts))
