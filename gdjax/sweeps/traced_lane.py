"""A lane function, traced once and cut by what its values depend on."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.batches import Batches
from gdjax.checks import is_concrete
from gdjax.descent import Descent
from gdjax.descent.description import canonical
from gdjax.descent.stepping import condition
from gdjax.lanewise import (
    Atom,
    Found,
    Levels,
    Operation,
    Program,
    Value,
    are_small,
    evaluate,
    evaluate_abreast,
    needed,
    read,
    split_leaf,
    straight,
    suits,
    traced,
)
from gdjax.sweeps.axes.concrete import check_concrete
from gdjax.sweeps.histories import Rows, empty_histories, rows_of_leaves, together
from gdjax.sweeps.keys import with_keys, without_keys
from gdjax.sweeps.lanes import Lane
from gdjax.sweeps.turns import LaneState, Outcome, careful, end, start, turn
from gdjax.trees import FEW, PyTree

Keep = Callable[[Descent, Outcome, LaneState], PyTree]
MOST_COMPILED_IN = 1024  # bytes of a constant; a larger one is an argument of the program
CARE = 128  # numbers that a turn computes for each parameter: with so many care costs about 5%
MOST_NUMBERS = 500  # beyond, XLA takes longer to compile them than they save
SHARED, OWN, CHANGING = range(3)  # by all lanes; by one lane throughout; from turn to turn


class Recorded(NamedTuple):
    """The histories of a lane, leaf by leaf."""

    entries: list[Atom]  # of a turn
    before: list[Value]  # the histories at the end of the round before
    seen: list[Value]  # the rows of this round
    histories: list[Atom]  # at its end


class LaneParts(NamedTuple):
    """What a lane computes, in parts. States and what is kept are flat: lists of leaves.

    A leaf that is small is `Entries`: see `gdjax.lanewise`.
    """

    inputs: tuple[list[Value], list[Value], list[Value]]  # of each level, but for histories
    operations: tuple[Sequence[Operation], ...]  # of shared, of own, of a turn, of the end
    own: list[Value]  # what a turn or the end needs of the lane's own
    first: list[Atom]
    after: list[Atom]
    kept: list[Atom]
    recorded: Recorded
    leaves: list[int]  # of a `LaneState`, those that the state has
    common: list[bool]  # of each leaf of the state: whether it is the same for all that run
    entrywise: bool  # whether all arrays of a turn are so small that each entry is kept apart
    abreast: bool  # whether else a turn runs fast on a CPU with the lanes last
    once: int  # numbers of the largest array that a turn computes once for all lanes

    def share(self, *args: PyTree) -> Found:
        """Return what all lanes share, of the inputs that they share."""
        given = _named(self.inputs[SHARED], jax.tree.leaves(args))
        return evaluate(self.operations[0], given, self.entrywise)

    def begin(self, shared: Found, *args: PyTree) -> tuple[list, list]:
        """Return what the lane computes once of its own inputs, and its first state."""
        given = _named(self.inputs[OWN], jax.tree.leaves(args))
        found = evaluate(self.operations[1], shared | given, self.entrywise)
        own = [split_leaf(found[v.number], self.entrywise) for v in self.own]
        return own, self._read(self.first, found)

    def turn(
        self, shared: Found, own: list, count: Any, state: list, abreast: bool
    ) -> tuple[list, list]:
        """Return the lane's next state, after `count` turns in this round, and entries.

        If `abreast`, it is computed with the lanes last.
        """
        found = shared | _named(self.own, own) | _named(self.inputs[CHANGING], [count, *state])
        if abreast:
            found |= evaluate_abreast(
                self.operations[2], found, [*self.after, *self.recorded.entries]
            )
        else:
            found = evaluate(self.operations[2], found, self.entrywise)
        return self._read(self.after, found), self._read(self.recorded.entries, found)

    def end(
        self, shared: Found, own: list, state: list, before: list, seen: list
    ) -> tuple[Any, list, list]:
        """Return the lane's code, what is kept of the lane, and its histories.

        They are made of those before this round and the rows of its entries.
        """
        found = shared | _named(self.own, own) | _named(self.inputs[CHANGING][1:], state)
        rows = list(map(together, seen))
        found |= _named(self.recorded.before, before) | _named(self.recorded.seen, rows)
        found = evaluate(self.operations[3], found, self.entrywise)
        code, *kept = self._read(self.kept, found)
        return code, kept, self._read(self.recorded.histories, found)

    def _read(self, atoms: list[Atom], found: Found) -> list:
        return [split_leaf(read(atom, found), self.entrywise) for atom in atoms]


class TracedLane(NamedTuple):
    """A lane as it begins, in the fewest operations, and as it goes on after it has waited.

    The first does not remember the point before, and leaves a lane undecided that comes to one
    that is not finite: such a lane begins anew, as one that goes on. Where that would cost more
    than it saves, a lane is `careful` from the beginning. Then, where each turn looks at the
    gradient norm, the lane remembers it and the loss, which saves compiling the loss once more.
    """

    constants: list[Any]  # arrays that the lane closes over, the first of the shared inputs
    fresh: LaneParts
    waiting: LaneParts
    with_care: tuple[LaneParts, LaneParts]  # both of them where they are careful
    kept_shapes: PyTree
    params: int  # leaves
    rows: list[Rows]  # of each leaf of the entries
    careful: bool  # whether a lane that begins remembers the point before
    work: int  # numbers that a turn computes, or adds up
    sized: bool  # whether a lane says of which size its batches are

    @property
    def entrywise(self) -> bool:
        """Whether small arrays are kept as their entries."""
        return self.fresh.entrywise

    @property
    def abreast(self) -> bool:
        """Whether, else, a turn runs fast on a CPU with the lanes last."""
        return self.fresh.abreast

    @property
    def alike(self) -> bool:
        """Whether a lane that begins may as well be computed as one that goes on.

        Beside care, what sets them apart is that those that begin share what depends on the number
        of updates. Where that is a few numbers, one program for both saves compiling another.
        """
        return self.careful and self.fresh.once <= FEW

    @property
    def from_the_beginning(self) -> "TracedLane":
        """The same lane, careful from its beginning: none of them is left undecided."""
        fresh, waiting = self.with_care
        return self._replace(fresh=fresh, waiting=waiting, careful=True)

    @property
    def sources(self) -> list[tuple[bool, int]]:
        """Where each leaf of a lane that waits is, after it began: whether kept, and which leaf.

        What is kept anyway need not be stored as state too. The point before is where the lane is.
        The histories come after the state.
        """
        numbers = [v.number for v in self.fresh.inputs[CHANGING][1:]]
        kept = [a.number if isinstance(a, Value) else None for a in self.fresh.kept[1:]]
        found = []
        for i in self.waiting.leaves:
            own = self.fresh.leaves.index(i if i in self.fresh.leaves else i - self.params)
            is_kept = numbers[own] in kept
            found.append((is_kept, kept.index(numbers[own]) if is_kept else own))
        for i, atom in enumerate(self.fresh.recorded.histories, len(numbers)):
            number = atom.number if isinstance(atom, Value) else None
            is_kept = number is not None and number in kept
            found.append((is_kept, kept.index(number) if is_kept else i))
        return found


def _named(values: list[Value], found: list) -> Found:
    return {v.number: x for v, x in zip(values, found, strict=True)}


def traced_lane(lane: Lane, keep: Keep, sources: PyTree, key: Any) -> TracedLane:
    """Return what a lane computes; its function is called once.

    `keep` makes of a lane's descent, outcome and last state what the sweep keeps of it.
    """
    params, sized, rows = 0, False, []

    def everything(sources, key, base, number, place, count):
        nonlocal params, sized, rows
        d = canonical(lane.descent(lane.values(sources, place), number, key))
        sized = isinstance(d.batches, Batches) and not is_concrete(d.batches.plan.count)
        begun = start(d, is_watched=lane.is_watched)
        params, rows = len(jax.tree.leaves(d.params)), rows_of_leaves(d)
        # A barrier's outputs are new values: all that is made of them changes from turn to turn.
        leaves, structure = jax.tree.flatten(without_keys(begun))
        nothing = empty_histories(d)
        count, changing, before, seen_rows = lax.optimization_barrier(
            (count, leaves, nothing, nothing)
        )
        state = with_keys(jax.tree.unflatten(structure, changing), begun)
        after, entries = turn(d, base, count, state)
        code, outcome, histories = end(d, base, state, before, seen_rows)
        afters = after, careful(count, state, after, base)
        afters = map(jax.tree.leaves, without_keys(afters))
        seen = [(outcome.loss, state.loss), (outcome.grad_norm, state.grad_norm)]
        if condition(d).gradient_tolerance(d.params) is None:
            seen = []  # the norm in each turn would cost more than the loss at the end
        kept = code, without_keys(keep(d, outcome, state))
        recorded = entries, before, seen_rows, [series.values for series in histories]
        return leaves, [count, *changing], *afters, seen, recorded, kept

    number = jax.ShapeDtypeStruct((), jnp.int32)
    places = (number,) * lane.dims
    program, shapes = traced(everything, sources, key, number, number, places, number)
    check_concrete("lane: it closes over a traced value", program.constants)
    program, constants = program.opened(MOST_COMPILED_IN)
    outputs = iter(program.outputs)
    first, marked, after, after_careful, seen, *recorded = (
        [next(outputs) for _ in jax.tree.leaves(part)] for part in (*shapes[:5], *shapes[5])
    )
    kept = list(outputs)
    entries, *rounds, histories = recorded
    changing, before, seen_rows = (
        [v for v in values if isinstance(v, Value)] for values in (marked, *rounds)
    )
    program = program.cut([*changing, *before, *seen_rows])
    recorded = Recorded(entries, before, seen_rows, histories)
    shared = len(jax.tree.leaves((constants, sources, key)))

    def cut(program: Program, after: list[Atom], kept: list[Atom]) -> tuple[LaneParts, LaneParts]:
        """Return the parts of a lane that begins, and of one that goes on."""
        # Those that begin have all made no update before.
        fresh = _cut(program, shared + 1, changing, first, after, kept, recorded)
        waiting = _cut(program, shared, changing, first, after_careful, kept, recorded)
        none = [False] * len(waiting.leaves)
        return fresh, waiting._replace(common=none, entrywise=fresh.entrywise)

    fresh, waiting = with_care = _with_care(program, cut, changing, seen, after_careful, kept)
    moving = sum(prod(atom.aval.shape) for atom in first[1 : 1 + params])
    is_careful = _work(waiting.operations[CHANGING]) > CARE * moving
    if not is_careful:
        fresh, waiting = cut(program, after, kept)
    return TracedLane(
        constants,
        fresh,
        waiting,
        with_care,
        kept_shapes=shapes[6][1],
        params=params,
        rows=rows,
        careful=is_careful,
        work=_work(fresh.operations[CHANGING]),
        sized=sized,
    )


def _with_care(
    program: Program,
    cut: Callable[..., tuple[LaneParts, LaneParts]],
    changing: list[Value],
    seen: list[Atom],
    after: list[Atom],
    kept: list[Atom],
) -> tuple[LaneParts, LaneParts]:
    """Return the parts of a careful lane, whose state tells what is `seen` at its end."""
    state_has = {a.number: own for a, own in zip(seen[::2], seen[1::2]) if isinstance(a, Value)}

    def remembered(atom: Atom) -> Atom:
        return state_has.get(atom.number, atom) if isinstance(atom, Value) else atom

    _, code, *_ = changing
    return cut(program.with_atoms(remembered), after, [code, *map(remembered, kept[1:])])


def _cut(
    program: Program,
    shared: int,
    changing: list[Value],
    first: list[Atom],
    after: list[Atom],
    kept: list[Atom],
    recorded: Recorded,
) -> LaneParts:
    """Return the parts of a program whose first `shared` inputs all lanes share."""
    marked = [*changing, *recorded.before, *recorded.seen]
    own = len(program.inputs) - len(marked) - 1 - shared  # the count is marked as changing
    inputs = [SHARED] * shared + [OWN] * own + [CHANGING] * (1 + len(marked))
    levels = straight(program, program.level(inputs).at(SHARED)).level(inputs)
    turning = levels.operations[CHANGING]
    count, *state = changing
    ends = [*kept, *recorded.histories]
    alive = _alive(turning, state, after, [*ends, *recorded.entries])
    first, after = ([atoms[i] for i in alive] for atoms in (first, after))
    state = [state[i] for i in alive]
    in_turn, in_end = (needed(turning, outputs) for outputs in ([*after, *recorded.entries], ends))
    updating = needed(turning, after)
    common = _common(levels, updating, count, state, first, after)
    same = levels.at(SHARED) | {count.number}
    same |= {v.number for v, is_common in zip(state, common) if is_common}
    return LaneParts(
        (
            list(program.inputs[:shared]),
            list(program.inputs[shared : shared + own]),
            [count, *state],
        ),
        (levels.operations[SHARED], levels.operations[OWN], in_turn, in_end),
        levels.needed_above(OWN, [*after, *recorded.entries, *ends]),
        first,
        after,
        kept,
        recorded,
        alive,
        common,
        entrywise=_few_numbers(updating),
        abreast=suits(updating, same),
        once=_largest_within(updating, same),
    )


def _common(
    levels: Levels,
    operations: Sequence[Operation],
    count: Value,
    state: list[Value],
    first: list[Atom],
    after: list[Atom],
) -> list[bool]:
    """Return for each leaf of the state whether it is the same for all lanes that run."""
    shared = levels.at(SHARED)
    common = [i > 0 and _within(atom, shared) for i, atom in enumerate(first)]  # no code is
    while True:
        same = shared | {count.number} | {v.number for v, c in zip(state, common) if c}
        for operation in operations:
            if all(_within(atom, same) for atom in operation.inputs):
                same |= {v.number for v in operation.outputs}
        found = [c and _within(atom, same) for c, atom in zip(common, after)]
        if found == common:
            return common
        common = found


def _largest_within(operations: Sequence[Operation], same: set[int]) -> int:
    """Return how large the largest array is that depends on nothing but these values."""
    same, largest = set(same), 0
    for operation in operations:
        if all(_within(atom, same) for atom in operation.inputs):
            same |= {v.number for v in operation.outputs}
            largest = max(largest, *(v.aval.size for v in operation.outputs))
    return largest


def _within(atom: Atom, numbers: set[int]) -> bool:
    return not isinstance(atom, Value) or atom.number in numbers


def _few_numbers(operations: Sequence[Operation]) -> bool:
    """Return whether a turn computes so few numbers that each may have a loop of its own."""
    avals = [v.aval for operation in operations for v in operation.outputs]
    return are_small(avals, MOST_NUMBERS)


def _work(operations: Sequence[Operation]) -> int:
    work = 1
    for operation in operations:
        size = sum(prod(v.aval.shape) for v in operation.outputs)
        if operation.primitive.name == "dot_general":
            (contracted, _), _ = operation.params["dimension_numbers"]
            size *= prod(operation.inputs[0].aval.shape[i] for i in contracted)
        work += size
    return work


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
