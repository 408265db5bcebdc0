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
    abreast: bool  # whether a turn is computed with the lanes last

    @property
    def lanes(self) -> int:
        """The lanes that a block has room for."""
        return self.tile * self.tiles


class Fresh(NamedTuple):
    """A block of lanes that begin: boxes of as many tiles each."""

    offset: Any  # int32 [boxes, dims]
    sides: Any  # int32 [boxes, dims]
    lanes: Any  # int32 [boxes]
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
    grace: Any  # int32 []
    patience: Any  # int32 []


class Done(NamedTuple):
    """What a block returns."""

    kept: list[Any]  # packed
    state: list[Any]  # packed, for those that go on; the codes are its first leaf
    counts: Any  # int32 [tiles, 3]: turns of each tile, updates of its lanes, lanes that go on


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
    block: Fresh | Waiting,
    tiles: Any,
    rounds: Rounds,
) -> Done:
    """Return how the lanes of a block stand after a round; to be compiled.

    The first `tiles` tiles are run. `strides`, int32 [dims], make a lane's number of its place.
    """
    width, axis = layout.tile, layout.axis
    shared = traced.share(sources, key)

    def run_tile(tile: Any) -> tuple:
        if isinstance(block, Fresh):
            place, count = _in_box(layout, block, tile)
            base = jnp.zeros(width, jnp.int32)
        else:
            place, base, count = _in_line(layout, block, tile)
        number = sum(index * stride for index, stride in zip(place, strides))
        begin = jax.vmap(lambda *lane: traced.begin(shared, *lane), out_axes=axis)
        own, (code, *rest) = begin(number, base, place)
        if isinstance(block, Waiting):
            code, *rest = packing.state.read(block.state, tile * width, width, axis)
        present = jnp.arange(width, dtype=jnp.int32) < count
        code = jnp.where(present, Status.RUNNING, Status.STEP_LIMIT).astype(code.dtype)
        step = jax.vmap(
            lambda own, state: traced.turn(shared, own, state, layout.abreast), axis, axis
        )
        end = jax.vmap(lambda own, state: traced.end(shared, own, state), axis, axis)
        state, counts = turned(lambda state: step(own, state), [code, *rest], count)
        return end(own, state), state, counts

    def turned(step: Any, state: list, count: Any) -> tuple[list, Any]:
        def unfinished(carry: tuple) -> Any:
            _, alive, turns, waste = carry
            patient = waste <= rounds.grace + rounds.patience * alive
            return (alive > 0) & (turns < rounds.turns) & patient

        def look(carry: tuple) -> tuple:
            state, alive, turns, waste = carry
            state = lax.fori_loop(0, layout.turns // layout.unrolled, several, state)
            waste += layout.turns * (count - alive)
            return state, living(state), turns + layout.turns, waste

        def several(_: Any, state: list) -> list:
            for _ in range(layout.unrolled):
                state = step(state)
            return state

        def living(state: list) -> Any:
            return jnp.sum(status_of(state[0]) == Status.RUNNING, dtype=jnp.int32)

        none = jnp.zeros((), jnp.int32)
        state, alive, turns, _ = lax.while_loop(unfinished, look, (state, count, none, none))
        if traced.at_once:
            turns = jnp.max(updates(state[0]))
        return state, jnp.stack([turns, jnp.sum(updates(state[0]), dtype=jnp.int32), alive])

    def write_tile(tile: Any, done: Done) -> Done:
        kept, state, counts = run_tile(tile)
        return Done(
            packing.kept.written(done.kept, kept, tile * width, axis),
            packing.state.written(done.state, state, tile * width, axis),
            lax.dynamic_update_index_in_dim(done.counts, counts, tile, 0),
        )

    none = Done(
        _zeros(packing.kept.shapes(layout.lanes)),
        _zeros(packing.state.shapes(layout.lanes)),
        jnp.zeros((layout.tiles, 3), jnp.int32),
    )
    return lax.fori_loop(jnp.zeros((), jnp.int32), tiles, write_tile, none)


def _in_box(layout: Layout, boxes: Fresh, tile: Any) -> tuple[list[Any], Any]:
    """Return where the lanes of a tile are, and how many of them there are."""
    box, first = lax.div(tile, boxes.tiles), lax.rem(tile, boxes.tiles) * layout.tile
    count = boxes.lanes[box] - first
    within = jnp.minimum(jnp.arange(layout.tile, dtype=jnp.int32), count - 1) + first
    place = traced_place(boxes.offset[box], boxes.sides[box], within, layout.slow)
    return place, jnp.minimum(count, layout.tile)


def _in_line(layout: Layout, waiting: Waiting, tile: Any) -> tuple[list[Any], Any, Any]:
    """Return where the lanes of a tile are, their updates so far, and how many there are."""
    first, width = tile * layout.tile, layout.tile
    place = lax.dynamic_slice_in_dim(waiting.place, first, width, 1)
    base = lax.dynamic_slice_in_dim(waiting.base, first, width)
    return list(place), base, jnp.minimum(waiting.count - first, width)


def _zeros(shapes: list[Any]) -> list[Any]:
    return [jnp.zeros(leaf.shape, leaf.dtype) for leaf in shapes]
