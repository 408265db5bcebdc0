"""The engine: runs all lanes of a sweep, block after block, on all cores or devices."""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple

import jax
import numpy as np

from gdjax.descent import Status
from gdjax.sweeps.block import Done, Fresh, Layout, Packings, Rounds, Waiting
from gdjax.sweeps.boxes import Blocks, Boxes
from gdjax.sweeps.collect import Arrays, Collector
from gdjax.sweeps.lane_program import LaneProgram
from gdjax.sweeps.patience import Patience
from gdjax.sweeps.pool import Living, Pool
from gdjax.sweeps.progress import Bar
from gdjax.sweeps.turns import status_of, updates
from gdjax.trees import PyTree

FEWEST_TILES = 8  # of lanes that wait, for which one worker more is worth its call


class Work(NamedTuple):
    """What a sweep computed, in updates of one lane."""

    useful: int  # that lanes made on their way
    executed: int  # with those of lanes that had ended and waited for others of their tile


@dataclass(frozen=True)
class Sweep:
    """What the engine needs to know of a sweep."""

    program: LaneProgram
    sources: PyTree
    key: Any
    blocks: Blocks
    layout: Layout
    packing: Packings
    collector: Collector


class Slot:
    """A device, with the programs compiled for it and what is the same for all blocks."""

    def __init__(self, sweep: Sweep, device: Any) -> None:
        """Put the sources of a sweep on the device."""
        lengths = np.array(sweep.blocks.shape, np.int64)
        strides = np.append(np.cumprod(lengths[:0:-1])[::-1], 1).astype(np.int32)
        self.sweep = sweep
        self.shared = (*jax.device_put((sweep.sources, sweep.key), device), strides)
        self.programs: dict[type, Any] = {}

    def prepare(self, block: Boxes | Waiting) -> None:
        """Compile what the block needs, unless that has been done; in the caller's thread."""
        if type(block) not in self.programs:
            args = (
                *self.shared,
                _argument(self.sweep, block),
                np.int32(0),
                Patience().rounds(1, False),
            )
            compiled = self.sweep.program.compiled(self.sweep.layout, args)
            self.programs[type(block)] = compiled

    def run(self, block: Boxes | Waiting, tiles: int, rounds: Rounds) -> Done:
        """Return what a block returns, in numpy arrays."""
        argument = _argument(self.sweep, block)
        done = self.programs[type(block)](*self.shared, argument, np.int32(tiles), rounds)
        return jax.tree.map(np.asarray, done)


class Round(NamedTuple):
    """What one call of a block returns to the engine."""

    ended: int  # lanes
    work: Work
    living: Living
    seconds: float


def run_lanes(sweep: Sweep, devices: list[Any], workers: int, bar: Bar) -> Work:
    """Run all lanes, `workers` blocks at a time on each device, and collect their outcomes."""
    slots: SimpleQueue[Slot] = SimpleQueue()
    each = [Slot(sweep, device) for device in devices]
    for slot in each * workers:
        slots.put(slot)
    at_once = workers * len(devices)
    fresh, pool, patience = sweep.blocks.each(), Pool(sweep.packing.state), Patience()
    x64 = jax.config.jax_enable_x64
    useful = executed = 0

    def call(block: Boxes | Waiting, last: bool) -> Round:
        # Threads have settings of their own, and numpy arrays become jax arrays by them.
        with jax.enable_x64(x64):
            slot = slots.get()
            try:
                return _round(sweep, slot, block, patience, last)
            finally:
                slots.put(slot)

    # One thread more: it collects what a device has computed while that computes on.
    with ThreadPoolExecutor(at_once + 1) as threads:

        def submitted(block: Boxes | Waiting, last: bool) -> Future[Round]:
            for slot in each:
                slot.prepare(block)
            return threads.submit(call, block, last)

        under_way: set[Future[Round]] = set()
        try:
            while True:
                while len(under_way) <= at_once and (block := _next(sweep, fresh, pool)):
                    under_way.add(submitted(block, False))
                if not under_way:
                    parts = _last(sweep, pool, at_once)
                    under_way = {submitted(part, len(parts) == 1) for part in parts}
                if not under_way:
                    return Work(useful, executed)
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    patience.learn(result.seconds, result.work.executed)
                    useful += result.work.useful
                    executed += result.work.executed
                    bar.update(result.ended)
                    pool.add(result.living)
        finally:
            for future in under_way:
                future.cancel()


def _next(sweep: Sweep, fresh: Iterator[Boxes], pool: Pool) -> Boxes | Waiting | None:
    """Return the next block: a full one of lanes that wait, else a fresh one."""
    room = sweep.layout.lanes
    return pool.taken(room, room) if pool.count >= room else next(fresh, None)


def _last(sweep: Sweep, pool: Pool, workers: int) -> list[Waiting]:
    """Return the lanes that are left, in a block for each worker that they are worth."""
    tiles = -(-pool.count // sweep.layout.tile)
    parts = max(1, min(workers, tiles // FEWEST_TILES))
    each = -(-tiles // parts) * sweep.layout.tile
    return [pool.taken(each, sweep.layout.lanes) for _ in range(-(-pool.count // max(each, 1)))]


def _argument(sweep: Sweep, block: Boxes | Waiting) -> Fresh | Waiting:
    """Return a block as the compiled program takes it."""
    if isinstance(block, Waiting):
        return block
    tiles, count = sweep.layout.tiles, len(block.lanes)
    offset, sides = np.zeros((2, tiles, len(sweep.blocks.shape)), np.int32)
    lanes = np.zeros(tiles, np.int32)
    offset[:count], sides[:count], lanes[:count] = *block, block.lanes
    return Fresh(offset, sides, lanes, np.int32(sweep.blocks.tiles_a_box))


def _round(
    sweep: Sweep, slot: Slot, block: Boxes | Waiting, patience: Patience, last: bool
) -> Round:
    if isinstance(block, Waiting):
        tiles = -(-int(block.count) // sweep.layout.tile)
        rounds = patience.rounds(tiles, alone=last and tiles == 1)
    else:
        tiles = len(block.lanes) * sweep.blocks.tiles_a_box
        rounds = patience.rounds(None, alone=False)
    began = perf_counter()
    done = slot.run(block, tiles, rounds)
    seconds = perf_counter() - began

    code = sweep.packing.state.leaves_of(done.state)[0]
    living = _living(sweep, done, code, tiles)
    if isinstance(block, Waiting):
        count = int(block.count)
        ended = np.setdiff1d(np.arange(count), living, assume_unique=True)
        kept = sweep.packing.kept.taken(done.kept, ended)
        sweep.collector.take_lanes(block.place[:, ended], kept)
        place = block.place[:, living]
    else:
        count = int(block.lanes.sum())
        _collect_fresh(sweep, block, living, done)
        place = sweep.blocks.place(living, block)
    base = block.base[living] if isinstance(block, Waiting) else 0
    state = sweep.packing.state.taken(done.state, living)
    turns, updated, _ = done.counts.sum(axis=0, dtype=np.int64).tolist()
    return Round(
        count - len(living),
        Work(updated, turns * sweep.layout.tile),
        Living(place, (base + updates(code[living])).astype(np.int32), state),
        seconds,
    )


def _living(sweep: Sweep, done: Done, code: np.ndarray, tiles: int) -> np.ndarray:
    """Return the positions in a block of the lanes that go on; most tiles have none."""
    width = sweep.layout.tile
    at = np.flatnonzero(done.counts[:tiles, 2])[:, None] * width + np.arange(width)
    return at[status_of(code[at]) == Status.RUNNING]


def _collect_fresh(sweep: Sweep, boxes: Boxes, living: np.ndarray, done: Done) -> None:
    room, kept, collector = sweep.blocks.lanes_a_box, sweep.packing.kept, sweep.collector
    if not isinstance(collector, Arrays):
        ended = np.arange(len(boxes.lanes) * room) % room < np.repeat(boxes.lanes, room)
        ended[living] = False
        lanes = np.flatnonzero(ended)
        collector.take_lanes(sweep.blocks.place(lanes, boxes), kept.taken(done.kept, lanes))
        return
    for first, end in sweep.blocks.runs(boxes):
        run = Boxes(boxes.offset[first:end], boxes.sides[first:end])
        lanes = slice(first * room, first * room + int(run.lanes.sum()))
        # The living of them will come once more.
        collector.take_boxes(sweep.blocks, run, kept.taken(done.kept, lanes))
