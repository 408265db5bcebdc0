"""The compiled program of a block: its tiles, one after the other."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.descent import Status
from gdjax.sweeps.boxes import traced_place
from gdjax.sweeps.histories import due_rows, period_of_all, room_for_entries, with_entry
from gdjax.sweeps.packed import Packing
from gdjax.sweeps.traced_lane import TracedLane
from gdjax.sweeps.turns import ended, is_running, is_undecided, steps
from gdjax.trees import PyTree

HALF = 16  # bits


class Layout(NamedTuple):
    """How a block is computed; it is static."""

    tile: int  # lanes
    tiles: int  # that a block has room for
    slow: int  # the slowest dimension of a box
    axis: int  # of the lanes in larger leaves, 0 or -1
    turns: int  # between two looks at whether a tile is done
    unrolled: int  # of these turns, in the body of the loop
    abreast: bool  # whether a turn is computed with the lanes last

    @property
    def lanes(self) -> int:
        """The lanes that a block has room for."""
        return self.tile * self.tiles


class Fresh(NamedTuple):
    """A block of lanes that begin: boxes of as many tiles each."""

    boxes: Any  # int32 [boxes, 2 dims + 1]: offset, sides, lanes; each argument costs time
    tiles: Any  # int32 [], of a box

    @classmethod
    def shapes(cls, layout: Layout, dims: int, _: list[Any]) -> "Fresh":
        """Return the shapes and dtypes of a block."""
        return cls(_whole(layout.tiles, 2 * dims + 1), _whole())


class Waiting(NamedTuple):
    """A block of lanes that go on."""

    count: Any  # int32 []
    place: Any  # int32 [dims, lanes]
    base: Any  # int32 [lanes], updates before this round; where it is 0 they begin anew
    state: list[Any]  # packed

    @classmethod
    def shapes(cls, layout: Layout, dims: int, state: list[Any]) -> "Waiting":
        """Return the shapes and dtypes of a block of lanes with such a packed state."""
        return cls(_whole(), _whole(dims, layout.lanes), _whole(layout.lanes), state)


class Rounds(NamedTuple):
    """How long the tiles of a block go on.

    A tile is left, so that its living can be packed with others, when the turns of its dead are
    more than `patience` times the number of the living, and what all tiles of the block have borne
    beyond that is more than `grace`.
    """

    turns: Any  # int32 [], at most
    grace: Any  # int32 []
    patience: Any  # int32 []


class Done(NamedTuple):
    """What a block returns."""

    kept: list[Any]  # packed
    state: list[Any]  # packed, what those that go on need beside; the codes are its first leaf
    counts: Any  # int32 [tiles, 4]: turns, useful updates by halves, lanes that go on or begin anew


class Packings(NamedTuple):
    """How the leaves of a lane are packed."""

    state: Packing  # of one that goes on
    kept: Packing
    left: Packing  # of one that began, what is not kept of its state
    order: list[tuple[bool, int]]  # where each leaf of `state` is: whether in `kept`, and which

    def done(self, layout: Layout, *, fresh: bool) -> Done:
        """Return the shapes and dtypes of what a block returns."""
        state = self.left if fresh else self.state
        kept = self.kept.shapes(layout.lanes)
        return Done(kept, state.shapes(layout.lanes), _whole(layout.tiles, 4))

    def waiting(self, done: Done, lanes: np.ndarray) -> list[np.ndarray]:
        """Return the packed state of lanes that began and go on."""
        kept = self.kept.taken(done.kept, lanes)
        left = self.left.taken(done.state, lanes)
        leaves = self.left.leaves_of(left), self.kept.leaves_of(kept)
        return self.state.packed([leaves[is_kept][i] for is_kept, i in self.order])


def packings(traced: TracedLane, dims: int, sources: PyTree, key: Any) -> Packings:
    """Return how the states of a lane and what is kept of it are packed."""

    def lane(sources, key, number):
        parts = traced.waiting
        shared = parts.share(traced.constants, sources, key)
        own, state = parts.begin(shared, number, number, [number] * dims)
        nothing = [jnp.zeros(v.aval.shape, v.aval.dtype) for v in parts.recorded.before]
        _, kept, histories = parts.end(shared, own, state, nothing, nothing)
        return [*state, *histories], kept

    number = jax.ShapeDtypeStruct((), jnp.int32)
    state, kept = jax.eval_shape(lane, sources, key, number)
    left, order = [], []
    for leaf, (is_kept, i) in zip(state, traced.sources):
        size = len(jax.tree.leaves(leaf))
        first = len(jax.tree.leaves(kept[:i] if is_kept else left))
        order += [(is_kept, first + k) for k in range(size)]
        if not is_kept:
            left.append(leaf)
    return Packings(Packing(state), Packing(kept), Packing(left), order)


def run_block(
    traced: TracedLane,
    layout: Layout,
    packing: Packings,
    room: Done,
    sources: PyTree,
    key: Any,
    strides: Any,
    block: Fresh | Waiting,
    numbers: Any,
) -> Done:
    """Return how the lanes of a block stand after a round, written into `room`; to be compiled.

    `strides`, int32 [dims], make a lane's number of its place. `numbers`, int32 [4], are how many
    tiles are run, the first of the block, and for how long, as `Rounds`.
    """
    width, axis = layout.tile, layout.axis
    is_fresh = isinstance(block, Fresh)
    parts = traced.fresh if is_fresh else traced.waiting
    none = jnp.zeros((), jnp.int32)
    shared = parts.share(traced.constants, sources, key, *[none] * is_fresh)
    axes = [None if common else axis for common in parts.common]

    def begun(tile: Any) -> tuple:
        """Return what the lanes of a tile compute once, their states, and histories before.

        And the updates that they have made, and how many they are.
        """
        if isinstance(block, Fresh):
            place, count = _in_box(layout, block, tile)
            begin = jax.vmap(lambda *lane: parts.begin(shared, *lane), out_axes=(axis, axes))
            nothing = [for_each_lane(jnp.zeros(v.aval.shape, v.aval.dtype)) for v in before]
            return *begin(_numbers(place, strides), place), nothing, none, count
        place, base, count = _in_line(layout, block, tile)
        packed = packing.state.read(block.state, tile * width, width, axis)
        packed, histories = packed[: len(axes)], packed[len(axes) :]

        def go_on(packed: list, base: Any, *lane: Any) -> tuple:
            own, first = parts.begin(shared, base, *lane)
            chosen = jax.tree.map(lambda new, old: jnp.where(base == 0, new, old), first, packed)
            return own, chosen

        begin = jax.vmap(go_on, (axis, 0, 0, 0), axis)
        return *begin(packed, base, _numbers(place, strides), place), histories, base, count

    def run_tile(tile: Any, grace: Any, rounds: Rounds, entries: list) -> tuple:
        own, (code, *rest), before, base, count = begun(tile)
        present = jnp.arange(width, dtype=jnp.int32) < count
        state = [jnp.where(present, 0, ended(0, Status.STEP_LIMIT)).astype(code.dtype), *rest]
        end = jax.vmap(partial(parts.end, shared), (axis, axes, axis, 0), axis)
        (state, entries), turns, borne = turned(own, state, entries, count, grace, rounds)
        code, kept, histories = end(own, state, before, due_rows(entries))
        again = jnp.zeros((), bool)
        if is_fresh and not traced.careful:
            state[0], again = code, is_undecided(code)
        useful = jnp.where(again, 0, steps(base, state[0]) - base)
        open_lanes = _count(is_running(state[0]) | again)
        halves = _halves(useful) if traced.rows else (useful, none)  # only then rounds may be long
        counts = jnp.stack([turns, *map(_count, halves), open_lanes])
        state = [
            jax.tree.map(for_each_lane, leaf) if common else leaf
            for leaf, common in zip(state, parts.common)
        ]
        return kept, [*state, *histories], counts, grace - borne, entries

    def for_each_lane(common: Any) -> Any:
        return jnp.repeat(jnp.expand_dims(common, axis), width, axis)

    step = jax.vmap(
        lambda own, count, state: parts.turn(shared, own, count, state, layout.abreast),
        (axis, None, axes),
        (axes, axis),
    )

    def turned(
        own: list, state: list, entries: list, count: Any, grace: Any, rounds: Rounds
    ) -> tuple[tuple[list, list], Any, Any]:
        def unfinished(carry: tuple) -> Any:
            _, alive, turns, _, borne = carry
            goes_on = (turns < rounds.turns) & (borne <= grace)
            if period > 1:  # else the entries of its lanes would be due apart from then on
                goes_on |= lax.rem(turns, np.int32(period)) != 0
            return (alive > 0) & goes_on

        def step_and_write(turns: Any, carry: tuple[list, list]) -> tuple[list, list]:
            state, new = step(own, turns, carry[0])
            leaves = zip(traced.rows, carry[1], new)
            return state, [with_entry(*leaf, axis, turns) for leaf in leaves]

        def look(carry: tuple) -> tuple:
            state, alive, turns, waste, borne = carry
            several = partial(_several, step_and_write, layout.unrolled, turns)
            state = lax.fori_loop(0, layout.turns // layout.unrolled, several, state)
            waste += layout.turns * (count - alive)
            alive = _count(is_running(state[0][0]))
            impatient = waste - rounds.patience * alive
            borne = jnp.where(alive > 0, jnp.maximum(borne, impatient), borne)
            return state, alive, turns + layout.turns, waste, borne

        carry = (state, entries), count, none, none, none
        end, _, turns, _, borne = lax.while_loop(unfinished, look, carry)
        return end, turns, jnp.minimum(borne, grace)

    stored = packing.left if is_fresh else packing.state
    sources, period = traced.sources, period_of_all(traced.rows)
    before = parts.recorded.before

    def write_tile(carry: tuple) -> tuple:
        tile, numbers, grace, entries, done = carry
        numbers = lax.optimization_barrier(numbers)  # else each is a kernel before the loop
        _, *limits = numbers
        kept, state, counts, grace, entries = run_tile(tile, grace, Rounds(*limits), entries)
        if is_fresh:
            state = [state[i] for is_kept, i in sources if not is_kept]
        written = Done(
            packing.kept.written(done.kept, kept, tile * width, axis),
            stored.written(done.state, state, tile * width, axis),
            lax.dynamic_update_index_in_dim(done.counts, counts, tile, 0),
        )
        return tile + 1, numbers, grace, entries, written

    def is_left(carry: tuple) -> Any:
        tile, (tiles, *_), *_ = carry
        return tile < tiles

    def one_turn() -> list:
        own, state, *_ = begun(none)
        return step(own, none, state)[1]

    # One for all tiles: what is left of the one before is never read.
    new = jax.eval_shape(one_turn) if traced.rows else []
    entries = [room_for_entries(*leaf, axis) for leaf in zip(traced.rows, new)]
    begin = none, numbers, Rounds(*numbers[1:]).grace, entries, room
    return lax.while_loop(is_left, write_tile, begin)[-1]


def _whole(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def _several(step: Any, unrolled: int, turns: Any, i: Any, state: PyTree) -> PyTree:
    for k in range(unrolled):
        state = step(turns + i * unrolled + k, state)
    return state


def _count(lanes: Any) -> Any:
    return jnp.sum(lanes, dtype=jnp.int32)


def _halves(x: Any) -> tuple[Any, Any]:
    """Return the low bits and the high ones of whole numbers, for sums that int32 holds."""
    return x & (2**HALF - 1), lax.shift_right_arithmetic(x, np.int32(HALF))


def _numbers(place: Any, strides: Any) -> Any:
    """Return the numbers of lanes at places."""
    return sum(index * stride for index, stride in zip(place, strides))


def _in_box(layout: Layout, boxes: Fresh, tile: Any) -> tuple[list[Any], Any]:
    """Return where the lanes of a tile are, and how many of them there are."""
    number, first = lax.div(tile, boxes.tiles), lax.rem(tile, boxes.tiles) * layout.tile
    *corners, lanes = boxes.boxes[number]
    dims = len(corners) // 2
    count = lanes - first
    within = jnp.minimum(jnp.arange(layout.tile, dtype=jnp.int32), count - 1) + first
    place = traced_place(corners[:dims], corners[dims:], within, layout.slow)
    return place, jnp.minimum(count, layout.tile)


def _in_line(layout: Layout, waiting: Waiting, tile: Any) -> tuple[list[Any], Any, Any]:
    """Return where the lanes of a tile are, their updates so far, and how many there are."""
    first, width = tile * layout.tile, layout.tile
    place = lax.dynamic_slice_in_dim(waiting.place, first, width, 1)
    base = lax.dynamic_slice_in_dim(waiting.base, first, width)
    return list(place), base, jnp.minimum(waiting.count - first, width)
