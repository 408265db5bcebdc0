"""The engine: runs all lanes of a sweep, block after block, on all cores or devices."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from threading import Condition, Lock, Thread
from time import perf_counter
from typing import Any, NamedTuple

import jax
import numpy as np

from gdjax.sweeps.block import HALF, Done, Fresh, Layout, Packings, Rounds, Waiting
from gdjax.sweeps.boxes import Blocks, Boxes
from gdjax.sweeps.collect import Arrays, Collector
from gdjax.sweeps.lane_program import BlockProgram, LaneProgram
from gdjax.sweeps.machine import put_on
from gdjax.sweeps.patience import Patience
from gdjax.sweeps.pool import Living, Pool
from gdjax.sweeps.progress import Bar
from gdjax.sweeps.threads import with_settings
from gdjax.sweeps.traced_lane import TracedLane
from gdjax.sweeps.turns import is_running, is_undecided
from gdjax.trees import PyTree


class Work(NamedTuple):
    """What a sweep computed, in updates of one lane."""

    useful: int  # that lanes made on their way
    executed: int  # with those of lanes that had ended and waited for others of their tile


@dataclass(frozen=True)
class Sweep:
    """What the engine needs to know of a sweep."""

    program: LaneProgram
    shared: tuple[PyTree, Any]  # by all lanes: their sources and their key
    blocks: Blocks
    layout: Layout
    options: dict[type, dict[str, Any]]  # of the compiler, for each kind of block
    packing: Packings
    collector: Collector
    traced: TracedLane
    spread: bool  # whether each worker has a tile at most: then none is packed with others
    turn: float  # seconds that a turn of a lane takes, roughly

    @property
    def alike(self) -> bool:
        """Whether blocks that begin are run as those that go on; of few lanes none does."""
        return self.traced.alike and not self.spread


class Slot:
    """A device, with the programs compiled for it and what is the same for all blocks."""

    def __init__(self, sweep: Sweep, device: Any) -> None:
        """Put the sources of a sweep on the device."""
        shape = sweep.blocks.shape
        self.strides = np.array([prod(shape[i + 1 :]) for i in range(len(shape))], np.int32)
        self.sweep, self.device = sweep, device
        self.shared = put_on(device, sweep.shared)
        self.programs: dict[type, BlockProgram] = {}
        self.lock = Lock()
        self.nothing = _nothing(sweep, device) if sweep.alike else []

    def run(self, block: Boxes | Waiting, rounds: Rounds) -> "Round":
        """Run a block for a round, and give what has ended to the collector."""
        if self.sweep.alike and not isinstance(block, Waiting):
            block = _beginning(self.sweep, block, self.nothing)
        tiles = _tiles(self.sweep, block)
        numbers = np.array([tiles, *rounds], np.int32)
        args = *self.shared, self.strides, _argument(self.sweep, block), numbers
        program = self._program(block)
        began = perf_counter()
        done = jax.block_until_ready(program(*args))
        seconds = perf_counter() - began
        result = _collected(self.sweep, block, tiles, jax.tree.map(np.asarray, done), seconds)
        program.give_back(done)
        return result

    def rest(self) -> None:
        """Keep no more than little memory."""
        for program in self.programs.values():
            program.rest()

    def _program(self, block: Boxes | Waiting) -> BlockProgram:
        kind = Waiting if isinstance(block, Waiting) else Fresh
        with self.lock:
            if not self.programs and kind is Fresh:
                self._compile(*[Waiting] * (not self.sweep.spread), Fresh)  # the longer one first
            if kind not in self.programs:  # after more turns than a round has
                self._compile(kind)
            return self.programs[kind]

    def _compile(self, *blocks: type[Fresh] | type[Waiting]) -> None:
        layout, options, careful = self.sweep.layout, self.sweep.options, self.sweep.traced.careful
        self.programs |= self.sweep.program.compiled(
            blocks, layout, options, self.device, self.shared, careful=careful
        )


class Round(NamedTuple):
    """What one call of a block returns to the engine."""

    ended: int  # lanes
    work: Work
    living: Living
    seconds: float


class Schedule:
    """Which block comes next: what the workers of a sweep share."""

    def __init__(self, sweep: Sweep, workers: int, bar: Bar) -> None:
        """Take the sweep, how many work on it, and what shows how far they are."""
        self.sweep, self.workers, self.bar = sweep, workers, bar
        self.fresh, self.pool = sweep.blocks.each(), Pool(sweep.packing.state)
        self.patience = Patience(sweep.layout.tile, sweep.turn)
        self.last: list[Waiting] = []
        self.under_way = 0
        self.work = Work(0, 0)
        self.changed = Condition()

    def take(self) -> tuple[Boxes | Waiting, Rounds] | None:
        """Return the next block and how long its tiles go on; None when there is no more."""
        with self.changed:
            while (block := self._next()) is None and self.under_way:
                self.changed.wait()
            if block is None:
                return None
            self.under_way += 1
            one_more = not self.pool.count and not self.last
            alone = isinstance(block, Waiting) and one_more and self.under_way == 1
            endless = self.sweep.spread or (alone and _tiles(self.sweep, block) == 1)
            return block, self.patience.rounds(one_more, endless)

    def add(self, result: Round) -> None:
        """Take what a block that was taken returned."""
        with self.changed:
            self.under_way -= 1
            self.patience.learn(result.seconds, result.work.executed)
            self.work = Work(*map(sum, zip(self.work, result.work)))
            self.bar.update(result.ended)
            self.pool.add(result.living)
            self.changed.notify_all()

    def stop(self) -> None:
        """Let no more blocks be taken."""
        with self.changed:
            self.fresh, self.pool, self.last = iter(()), Pool(self.sweep.packing.state), []
            self.under_way = 0
            self.changed.notify_all()

    def _next(self) -> Boxes | Waiting | None:
        """Return the next block: a full one of lanes that wait, else a fresh one, else the rest."""
        room = self.sweep.layout.lanes
        if self.pool.count >= room:
            return self.pool.taken(room, room)
        block = next(self.fresh, None)
        if block is None and not self.last and not self.under_way:
            self.last = _last(self.sweep, self.pool, self.workers, self.patience.worth)
        return self.last.pop() if block is None and self.last else block


def run_lanes(sweep: Sweep, devices: list[Any], workers: int, bar: Bar) -> Work:
    """Run all lanes, `workers` blocks at a time on each device, and collect their outcomes."""
    slots = [Slot(sweep, device) for device in devices] * workers
    schedule = Schedule(sweep, len(slots), bar)
    failures: list[BaseException] = []

    def work(slot: Slot) -> None:
        try:
            while taken := schedule.take():
                schedule.add(slot.run(*taken))
        except BaseException as error:
            schedule.stop()
            failures.append(error)

    # A pool of threads takes as long to begin as a small sweep.
    others = slots[1:] if sweep.blocks.blocks > 1 else []
    threads = [Thread(target=with_settings(work), args=(slot,)) for slot in others]
    for thread in threads:
        thread.start()
    work(slots[0])
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    for slot in slots:
        slot.rest()
    return schedule.work


def _tiles(sweep: Sweep, block: Boxes | Waiting) -> int:
    if isinstance(block, Waiting):
        return -(-int(block.count) // sweep.layout.tile)
    return len(block.lanes) * sweep.blocks.tiles_a_box


def _last(sweep: Sweep, pool: Pool, workers: int, worth: int) -> list[Waiting]:
    """Return the lanes that are left, in a block for each worker that gets tiles worth a call."""
    tiles = -(-pool.count // sweep.layout.tile)
    parts = max(1, min(workers, tiles // worth))
    each = -(-tiles // parts) * sweep.layout.tile
    return [pool.taken(each, sweep.layout.lanes) for _ in range(-(-pool.count // max(each, 1)))]


def _nothing(sweep: Sweep, device: Any) -> list[Any]:
    """Return the packed state of a block of lanes that begin, for which it means nothing."""
    shapes = sweep.packing.state.shapes(sweep.layout.lanes)
    return jax.device_put([np.zeros(leaf.shape, leaf.dtype) for leaf in shapes], device)


def _beginning(sweep: Sweep, boxes: Boxes, nothing: list[Any]) -> Waiting:
    """Return a block as one of lanes that go on, from no update."""
    lanes, room = sweep.blocks.lanes(boxes), sweep.layout.lanes
    place = np.zeros((len(sweep.blocks.shape), room), np.int32)
    place[:, : len(lanes)] = sweep.blocks.place(lanes, boxes)
    return Waiting(np.int32(len(lanes)), place, np.zeros(room, np.int32), nothing)


def _argument(sweep: Sweep, block: Boxes | Waiting) -> Fresh | Waiting:
    """Return a block as the compiled program takes it."""
    if isinstance(block, Waiting):
        return block
    dims = len(sweep.blocks.shape)
    boxes = np.zeros((sweep.layout.tiles, 2 * dims + 1), np.int32)
    own = boxes[: len(block.offset)]
    own[:, :dims], own[:, dims:-1], own[:, -1] = *block, block.lanes
    return Fresh(boxes, np.int32(sweep.blocks.tiles_a_box))


def _collected(
    sweep: Sweep, block: Boxes | Waiting, tiles: int, done: Done, seconds: float
) -> Round:
    """Give what has ended to the collector, and return what goes on."""
    packing = sweep.packing
    if isinstance(block, Waiting):
        code = packing.state.leaves_of(done.state)[0]
        living = _living(sweep, done, code, tiles, is_running)
        count = int(block.count)
        ended = np.setdiff1d(np.arange(count), living, assume_unique=True)
        kept = packing.kept.taken(done.kept, ended)
        sweep.collector.take_lanes(block.place[:, ended], kept)
        place, base = block.place[:, living], block.base[living]
        state = packing.state.taken(done.state, living)
    else:
        code = packing.left.leaves_of(done.state)[0]
        living = _living(sweep, done, code, tiles, is_running if sweep.traced.careful else _is_open)
        count = int(block.lanes.sum())
        _collect_fresh(sweep, block, living, done)
        place, base = sweep.blocks.place(living, block), 0
        state = packing.waiting(done, living) if len(living) else []
    updates = np.maximum(code[living], 0)  # what is undecided begins anew
    turns, low, high, _ = done.counts[:tiles].sum(axis=0, dtype=np.int64).tolist()
    useful = low + (high << HALF)
    return Round(
        count - len(living),
        Work(useful, turns * sweep.layout.tile),
        Living(place, (base + updates).astype(np.int32), state),
        seconds,
    )


def _is_open(code: np.ndarray) -> np.ndarray:
    return is_running(code) | is_undecided(code)


def _living(
    sweep: Sweep, done: Done, code: np.ndarray, tiles: int, goes_on: Callable[..., np.ndarray]
) -> np.ndarray:
    """Return the positions in a block of the lanes that go on; most tiles have none."""
    width = sweep.layout.tile
    at = np.flatnonzero(done.counts[:tiles, -1])[:, None] * width + np.arange(width)
    return at[goes_on(code[at])]


def _collect_fresh(sweep: Sweep, boxes: Boxes, living: np.ndarray, done: Done) -> None:
    room, kept, collector = sweep.blocks.lanes_a_box, sweep.packing.kept, sweep.collector
    if not isinstance(collector, Arrays):
        lanes = np.setdiff1d(sweep.blocks.lanes(boxes), living, assume_unique=True)
        collector.take_lanes(sweep.blocks.place(lanes, boxes), kept.taken(done.kept, lanes))
        return
    for first, end in sweep.blocks.runs(boxes):
        run = boxes.part(first, end)
        lanes = slice(first * room, first * room + int(run.lanes.sum()))
        # The living of them will come once more.
        collector.take_boxes(sweep.blocks, run, kept.taken(done.kept, lanes))
