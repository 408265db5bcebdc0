"""The diagnosis of all lanes of a sweep.

A glance suffices for most lanes, and costs little where it is vectorised over them: least where a
lane ends, and there the sweep takes it if there are few parameters. The others are packed together
and looked at more closely; only those that this does not settle go on.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.curvature.extremes import LARGEST_HESSIAN
from gdjax.descent.description import canonical
from gdjax.diagnosis import Diagnosis
from gdjax.diagnosis.brief import Brief, brief, opened
from gdjax.diagnosis.decide import Found
from gdjax.diagnosis.diagnose import at_a_glance, looked_closer, on_the_way
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
FOUND = 2**24  # of entries of Hessians at the ends of lanes
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
    look, go_on = _looks(lanes.lane, lanes.shape)
    for some in work.groups(left):
        looks, found = work.looked_at(look, some)
        for rows, own in zip(diagnosis, looks.diagnosis):
            rows[some] = own
        rest = np.flatnonzero(~looks.settled)
        if len(rest):
            found = jax.tree.map(partial(np.take, indices=rest, axis=0), found)
            for rows, own in zip(diagnosis, work.looked_at(go_on, some[rest], found)):
                rows[some[rest]] = own
    return jax.tree.map(lambda leaf: leaf.reshape(lanes.shape), diagnosis)


def _spread(leaf: np.ndarray, count: int, writable: bool) -> np.ndarray:
    """Return an array [count]; what is the same for all lanes is one number, unless `writable`."""
    if leaf.shape:
        return leaf
    if not writable:
        return np.broadcast_to(leaf, (count,))
    # The system gives zeros for nothing.
    return np.full(count, leaf) if leaf else np.zeros(count, leaf.dtype)


Looker = Callable[..., Any]  # of sources, key, and of lanes their numbers, ends, and what is found


def _looker(lane: Lane, shape: tuple[int, ...], look: Callable[..., Any]) -> Looker:
    """Return a look at a lane's end as a function of its number."""

    def of_lane(sources: PyTree, key: Any, number: Any, end: End, *found: Found) -> Any:
        d = canonical(lane.descent(lane.values(sources, place_of(number, shape)), number, key))
        opt_state = with_keys(end.opt_state, d.optimizer.init(d.params))
        return look(d, end._replace(opt_state=opt_state), *found)

    return of_lane


@lru_cache(maxsize=32)
def _looks(lane: Lane, shape: tuple[int, ...]) -> tuple[Looker, Looker]:
    """Return the compiled looks at lanes [n]: at their ends, and at where they go from there."""

    def compiled(look: Callable[..., Any], lanes: int) -> Looker:
        axes = (None, None, *[0] * lanes)
        return ConstantsApart(jax.vmap(_looker(lane, shape, look), in_axes=axes))

    return compiled(looked_closer, 2), compiled(on_the_way, 3)


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

    def groups(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the numbers of lanes of which all that is found at their ends fits into memory."""
        dim = size(self.ends.params) // self.count
        most = max(FOUND // (dim * min(dim, LARGEST_HESSIAN)), CLOSER)
        for first in range(0, len(numbers), most):
            yield numbers[first : first + most]

    def looked_at(self, look: Looker, numbers: np.ndarray, *found: PyTree) -> Any:
        """Return a look at the lanes of these numbers, of which that has been found."""
        each = min(CLOSER, self.room, 2 * self._power_of_two(len(numbers) - 1))
        parts: dict[int, Any] = {}

        def part(first: int) -> None:
            lanes = np.minimum(np.arange(first, first + each), len(numbers) - 1)
            some = numbers[lanes].astype(np.int32)
            ends = jax.tree.map(lambda leaf: leaf[some], self.ends)
            own = jax.tree.map(lambda leaf: leaf[lanes], found)
            seen = look(*self.shared, some, ends, *own)
            count = min(each, len(numbers) - first)
            parts[first] = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], seen)

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
