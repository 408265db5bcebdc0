"""The compiled program of a block: its tiles, one after the other."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Status
from gdjax.sweeps.boxes import traced_place
from gdjax.sweeps.packed import Packing
from gdjax.sweeps.traced_lane import TracedLane
from gdjax.sweeps.turns import status_of, updates
from gdjax.trees import PyTree


class Layout(NamedTuple):
    """How a block is computed; it is static."""

    tile: int  # lanes
    tiles: int  # that a block has room for
    slow: int  # the slowest dimension of a box
    axis: int  # of the lanes in larger leaves, 0 or -1
    turns: int  # between two looks at whether a tile is done
    unrolled: int  # of these turns, in the body of the loop

    @property
    def lanes(self) -> int:
        """The lanes that a block has room for."""
        return self.tile * self.tiles


class Fresh(NamedTuple):
    """A block of lanes that begin: boxes of as many tiles each."""

    offset: Any  # int32 [boxes, dims]
    sides: Any  # int32 [boxes, dims]
    tiles: Any  # int32 [], of a box


class Waiting(NamedTuple):
    """A block of lanes that go on."""

    count: Any  # int32 []
    place: Any  # int32 [dims, lanes]
    base: Any  # int32 [lanes], updates before this round
    state: list[Any]  # packed


class Rounds(NamedTuple):
    """How long a tile goes on; traced.

    A tile is left, so that its living can be packed with others, when the turns of its dead are
    more than `grace` and `patience` times the number of the living.
    """

    turns: Any  # int32 [], at most
    grace: Any  # float32 []
    patience: Any  # float32 []


class Done(NamedTuple):
    """What a block returns."""

    code: Any  # int32 [lanes]
    base: Any  # int32 [lanes]
    kept: list[Any]  # packed
    state: list[Any]  # packed, for those that go on
    turns: Any  # int32 [tiles], through which each took its lanes
    updates: Any  # int32 [tiles], of all lanes
    living: Any  # int32 [tiles], lanes


class Packings(NamedTuple):
    """How the leaves of a lane are packed."""

    state: Packing
    kept: Packing


def packings(traced: TracedLane, dims: int, sources: PyTree, key: Any) -> Packings:
    """Return how the states of a lane and what is kept of it are packed."""

    def lane(sources, key, number):
        shared = traced.share(sources, key)
        own, state = traced.begin(shared, number, number, [number] * dims)
        return state, traced.end(shared, own, state)

    number = jax.ShapeDtypeStruct((), jnp.int32)
    return Packings(*map(Packing, jax.eval_shape(lane, sources, key, number)))


def run_block(
    traced: TracedLane,
    layout: Layout,
    packing: Packings,
    sources: PyTree,
    key: Any,
    strides: Any,
    fresh: Any,
    boxes: Fresh,
    waiting: Waiting,
    tiles: Any,
    rounds: Rounds,
) -> Done:
    """Return how the lanes of a block stand after a round; to be compiled.

    `fresh` says which of `boxes` and `waiting` counts; the first `tiles` tiles are run. `strides`,
    int32 [dims], make a lane's number of its place.
    """
    width, axis = layout.tile, layout.axis
    shared = traced.share(sources, key)

    def lanes_of_box(tile: Any) -> tuple:
        place, present = _in_box(layout, boxes, tile)
        return place, jnp.zeros(width, jnp.int32), present

    def lanes_waiting(tile: Any) -> tuple:
        first = tile * width
        place = lax.dynamic_slice_in_dim(waiting.place, first, width, 1)
        base = lax.dynamic_slice_in_dim(waiting.base, first, width)
        positions = first + jnp.arange(width, dtype=jnp.int32)
        return list(place), base, positions < waiting.count

    def run_tile(tile: Any) -> tuple:
        place, base, present = lax.cond(fresh, lanes_of_box, lanes_waiting, tile)
        number = sum(index * stride for index, stride in zip(place, strides))
        begin = jax.vmap(lambda *lane: traced.begin(shared, *lane), out_axes=axis)
        own, begun = begin(number, base, place)
        code, *rest = lax.cond(
            fresh,
            lambda: begun,
            lambda: packing.state.read(waiting.state, tile * width, width, axis),
        )
        code = jnp.where(present, Status.RUNNING, Status.STEP_LIMIT).astype(code.dtype)
        count = jnp.sum(present, dtype=jnp.int32)
        step = jax.vmap(lambda own, state: traced.turn(shared, own, state), axis, axis)
        end = jax.vmap(lambda own, state: traced.end(shared, own, state), axis, axis)
        state, *counts = turned(lambda state: step(own, state), [code, *rest], count)
        return base, end(own, state), state, counts

    def turned(step: Any, state: list, count: Any) -> tuple:
        def unfinished(carry: tuple) -> Any:
            _, alive, turns, waste = carry
            patient = waste <= rounds.grace + rounds.patience * alive.astype(jnp.float32)
            return (alive > 0) & (turns < rounds.turns) & patient

        def look(carry: tuple) -> tuple:
            state, alive, turns, waste = carry
            state = lax.fori_loop(0, layout.turns // layout.unrolled, several, state)
            waste += (layout.turns * (count - alive)).astype(jnp.float32)
            return state, living(state), turns + layout.turns, waste

        def several(_: Any, state: list) -> list:
            for _ in range(layout.unrolled):
                state = step(state)
            return state

        def living(state: list) -> Any:
            return jnp.sum(status_of(state[0]) == Status.RUNNING, dtype=jnp.int32)

        begun = (state, count, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32))
        state, alive, turns, _ = lax.while_loop(unfinished, look, begun)
        if traced.at_once:
            turns = jnp.max(updates(state[0]))
        return state, turns, jnp.sum(updates(state[0]), dtype=jnp.int32), alive

    def write_tile(tile: Any, done: Done) -> Done:
        base, kept, state, counts = run_tile(tile)
        first = tile * width
        return Done(
            lax.dynamic_update_slice_in_dim(done.code, state[0], first, 0),
            lax.dynamic_update_slice_in_dim(done.base, base, first, 0),
            packing.kept.written(done.kept, kept, first, axis),
            packing.state.written(done.state, state, first, axis),
            *(
                lax.dynamic_update_index_in_dim(counted, count, tile, 0)
                for counted, count in zip((done.turns, done.updates, done.living), counts)
            ),
        )

    lanes = layout.tiles * width
    none = Done(
        jnp.full(lanes, Status.STEP_LIMIT, jnp.int32),
        jnp.zeros(lanes, jnp.int32),
        _zeros(packing.kept.shapes(lanes)),
        _zeros(packing.state.shapes(lanes)),
        *jnp.zeros((3, layout.tiles), jnp.int32),
    )
    return lax.fori_loop(jnp.zeros((), jnp.int32), tiles, write_tile, none)


def _in_box(layout: Layout, boxes: Fresh, tile: Any) -> tuple[list[Any], Any]:
    """Return where the lanes of a tile are, and which of them there are at all."""
    box, in_box = jnp.divmod(tile, boxes.tiles)
    offset, sides = boxes.offset[box], boxes.sides[box]
    count = jnp.prod(sides, dtype=jnp.int32)
    positions = in_box * layout.tile + jnp.arange(layout.tile, dtype=jnp.int32)
    place = traced_place(offset, sides, jnp.minimum(positions, count - 1), layout.slow)
    return place, positions < count


def _zeros(shapes: list[Any]) -> list[Any]:
    return [jnp.zeros(leaf.shape, leaf.dtype) for leaf in shapes]
