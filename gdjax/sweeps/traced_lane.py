"""A lane function, traced once and cut by what its values depend on."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Descent, Status
from gdjax.descent.description import canonical, recorders
from gdjax.descent.running import execute
from gdjax.descent.stepping import first_state
from gdjax.lanewise import (
    Atom,
    Found,
    Operation,
    Value,
    evaluate,
    evaluate_abreast,
    is_small,
    needed,
    read,
    split_leaf,
    suits,
    traced,
)
from gdjax.record import Every
from gdjax.sweeps.axes.concrete import check_concrete
from gdjax.sweeps.lanes import Lane
from gdjax.sweeps.turns import Outcome, end, start, status_of, turn
from gdjax.trees import PyTree

Keep = Callable[[Outcome], PyTree]
MOST_NUMBERS = 500  # beyond, XLA takes longer to compile them than they save
SHARED, OWN, CHANGING = range(3)  # by all lanes; by one lane throughout; from turn to turn


class TracedLane(NamedTuple):
    """What a lane computes, in parts. States and what is kept are flat: lists of leaves.

    A leaf that is small is `Entries`: see `gdjax.lanewise`.
    """

    inputs: tuple[list[Value], list[Value], list[Value]]  # of each level
    operations: tuple[Sequence[Operation], ...]  # of shared, of own, of a turn, of the end
    own: list[Value]  # what a turn or the end needs of the lane's own
    first: list[Atom]
    after: list[Atom]
    kept: list[Atom]
    kept_shapes: PyTree
    at_once: bool  # whether the first turn runs a lane to its end
    entrywise: bool  # whether all arrays of a turn are so small that each entry is kept apart
    abreast: bool  # whether else a turn runs fast on a CPU with the lanes last

    def share(self, sources: PyTree, key: Any) -> Found:
        """Return what all lanes share."""
        given = _named(self.inputs[SHARED], jax.tree.leaves((sources, key)))
        return evaluate(self.operations[0], given, self.entrywise)

    def begin(self, shared: Found, number: Any, base: Any, place: Sequence[Any]) -> tuple:
        """Return what the lane computes once, and its first state."""
        given = _named(self.inputs[OWN], [number, base, *place])
        found = evaluate(self.operations[1], shared | given, self.entrywise)
        own = [split_leaf(found[v.number], self.entrywise) for v in self.own]
        return own, self._read(self.first, found)

    def turn(self, shared: Found, own: list, state: list, abreast: bool) -> list:
        """Return the lane's next state; `abreast`, computed with the lanes last."""
        found = shared | _named(self.own, own) | _named(self.inputs[CHANGING], state)
        if abreast:
            found |= evaluate_abreast(self.operations[2], found, self.after)
        else:
            found = evaluate(self.operations[2], found, self.entrywise)
        return self._read(self.after, found)

    def end(self, shared: Found, own: list, state: list) -> list:
        """Return what is kept of the lane."""
        found = shared | _named(self.own, own) | _named(self.inputs[CHANGING], state)
        return self._read(self.kept, evaluate(self.operations[3], found, self.entrywise))

    def _read(self, atoms: list[Atom], found: Found) -> list:
        return [split_leaf(read(atom, found), self.entrywise) for atom in atoms]


def _named(values: list[Value], found: list) -> Found:
    return {v.number: x for v, x in zip(values, found, strict=True)}


def traced_lane(lane: Lane, keep: Keep, sources: PyTree, key: Any) -> TracedLane:
    """Return what a lane computes; its function is called once.

    `keep` makes of a lane's outcome what the sweep keeps of it.
    """
    has_histories = False

    def everything(sources, key, number, base, place):
        nonlocal has_histories
        d = canonical(lane.descent(lane.values(sources, place), number, key))
        has_histories = any(isinstance(r, Every) for r in recorders(d.record))
        if has_histories:
            return _at_once(d, keep)
        begun = start(d)
        # A barrier's outputs are new values: all that is made of them changes from turn to turn.
        leaves, structure = jax.tree.flatten(begun)
        changing = lax.optimization_barrier(leaves)
        state = jax.tree.unflatten(structure, changing)
        return leaves, changing, jax.tree.leaves(turn(d, base, state)), keep(end(d, base, state))

    number = jax.ShapeDtypeStruct((), jnp.int32)
    program, shapes = traced(everything, sources, key, number, number, (number,) * lane.dims)
    check_concrete("lane: it closes over a traced value", program.constants)
    count = len(shapes[0])
    first, marked, after = (list(program.outputs[i * count : (i + 1) * count]) for i in range(3))
    kept = list(program.outputs[3 * count :])
    changing = [v for v in marked if isinstance(v, Value)]
    program = program.cut(changing)

    others = len(jax.tree.leaves((sources, key)))
    inputs = (
        list(program.inputs[:others]),
        list(program.inputs[others : -len(changing)]),
        changing,
    )
    levels = program.level([level for level, values in enumerate(inputs) for _ in values])
    alive = _alive(levels.operations[CHANGING], changing, after, kept)
    first, after = ([atoms[i] for i in alive] for atoms in (first, after))
    inputs = inputs[SHARED], inputs[OWN], [changing[i] for i in alive]
    in_turn, in_end = (needed(levels.operations[CHANGING], outputs) for outputs in (after, kept))
    shared = {number for number, level in levels.of.items() if level == SHARED}
    return TracedLane(
        inputs,
        (levels.operations[SHARED], levels.operations[OWN], in_turn, in_end),
        levels.needed_above(OWN, [*after, *kept]),
        first,
        after,
        kept,
        shapes[3],
        has_histories,
        entrywise=_few_numbers(in_turn),
        abreast=not has_histories and suits(in_turn, shared),
    )


def _at_once(d: Descent, keep: Keep) -> tuple[list, list, list, PyTree]:
    """Return the parts of a lane that runs from start to end in its first turn.

    A history is written in chunks between the steps, in a row that all lanes of a tile share.
    """
    result = execute(d, first_state(d))
    (code,) = changing = lax.optimization_barrier([jnp.zeros((), jnp.int32)])
    ended = jnp.where(status_of(code) == Status.RUNNING, 4 * result.steps + result.status, code)
    kept = keep(Outcome(*(getattr(result, name) for name in Outcome._fields)))
    return [jnp.zeros((), jnp.int32)], changing, [ended], kept


def _few_numbers(operations: Sequence[Operation]) -> bool:
    """Return whether a turn computes so few numbers that each may have a loop of its own."""
    avals = [v.aval for operation in operations for v in operation.outputs]
    return all(map(is_small, avals)) and sum(prod(aval.shape) for aval in avals) <= MOST_NUMBERS


def _alive(
    operations: Sequence[Operation], state: list[Value], after: list[Atom], kept: list[Atom]
) -> list[int]:
    """Return which leaves of the state matter: the code, and what it or the end depends on."""
    alive: set[int] = set()
    outputs = [after[0], *kept]
    while True:
        used = {
            a.number
            for a in (*outputs, *(a for o in needed(operations, outputs) for a in o.inputs))
            if isinstance(a, Value)
        }
        found = {i for i, v in enumerate(state) if i == 0 or v.number in used}
        if found == alive:
            return sorted(alive)
        alive = found
        outputs = [after[i] for i in sorted(alive)] + kept
