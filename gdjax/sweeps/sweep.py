"""Many runs at once: `sweep`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Literal, overload

import jax
import numpy as np

from gdjax import checks
from gdjax.descent import Descent
from gdjax.descent.description import canonical
from gdjax.descent.running import execute
from gdjax.descent.stepping import first_state
from gdjax.sweeps.axes.concrete import check_concrete
from gdjax.sweeps.batch_sizes import check_sizes
from gdjax.sweeps.block import Fresh, Packings, Waiting
from gdjax.sweeps.boxes import blocks
from gdjax.sweeps.collect import Arrays, whole_outcome
from gdjax.sweeps.diagnosed import diagnosed
from gdjax.sweeps.engine import Sweep, run_lanes
from gdjax.sweeps.lane_program import LaneProgram, lane_program
from gdjax.sweeps.lanes import Lanes, checked_lanes
from gdjax.sweeps.machine import (
    Device,
    block_layout,
    checked_devices,
    compiler_options,
    lanes_of_a_block,
    put_on,
    seconds_a_turn,
    workers_of,
)
from gdjax.sweeps.progress import progress_bar
from gdjax.sweeps.reduced import Reduced, checked_reducers
from gdjax.sweeps.runs import Runs
from gdjax.sweeps.store import Store
from gdjax.sweeps.traced_lane import TracedLane
from gdjax.sweeps.watch import watched_outcome
from gdjax.trees import PyTree

NOT_WHILE_TRACING = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
# What JAX raises of a traced value in a shape, or as the end of a slice, and of much else.
MAYBE_NOT_WHILE_TRACING = (*NOT_WHILE_TRACING, TypeError, IndexError)
zero = jax.jit(lambda: 0)  # which is called in less time than JAX makes an array in


@overload
def sweep(
    lane: Callable[..., Descent],
    /,
    *,
    key: jax.Array | None = None,
    progress: bool | None = None,
    tile: int | Literal["auto"] = "auto",
    block_size: int | None = None,
    workers: int | None = None,
    devices: Sequence[Device] | None = None,
    reduce: None = None,
    store: str | PathLike[str] | None = None,
    diagnose: bool = False,
    **axes: Any,
) -> Runs: ...
@overload
def sweep(
    lane: Callable[..., Descent],
    /,
    *,
    key: jax.Array | None = None,
    progress: bool | None = None,
    tile: int | Literal["auto"] = "auto",
    block_size: int | None = None,
    workers: int | None = None,
    devices: Sequence[Device] | None = None,
    reduce: PyTree,
    **axes: Any,
) -> PyTree: ...
def sweep(
    lane: Callable[..., Descent],
    /,
    *,
    key: jax.Array | None = None,
    progress: bool | None = None,
    tile: int | Literal["auto"] = "auto",
    block_size: int | None = None,
    workers: int | None = None,
    devices: Sequence[Device] | None = None,
    reduce: PyTree = None,
    store: str | PathLike[str] | None = None,
    diagnose: bool = False,
    **axes: Any,
) -> Runs | PyTree:
    """Run a lane function at every combination of its axes, compiled once for all of them.

    Each keyword is an axis, and the product runs over them in the order given, the last fastest.
    The lane function is traced: starts, learning rates, tolerances, data or budgets of steps may
    depend on the swept values, as long as no shape does. A lane ends as `gdjax.run` of its
    descent alone would, to the rounding of its arithmetic, whatever the others do. A second sweep
    of the same function, with values of the same shapes, compiles nothing: what the function
    closes over is read when it is traced, and a variable that changes afterwards is not seen;
    sweep it, or make a new function. With `diagnose`, the lanes that are no minima at a glance go
    on in batches of a few widths, of which a later sweep may be the first to need one.

    Args:
      lane: function from one value of each axis, by keyword, to a `gdjax.Descent`.
      key: a random key; lane number i gets `jax.random.fold_in(key, i)` as its keyword `key`, or,
        where it takes none, as the key of its descent if that has none. What a lane draws is what
        it draws alone if `jax.vmap` leaves the generator's numbers as they are: "threefry2x32"
        does, "rbg" does not.
      progress: whether to show a bar; None shows it on a terminal where tqdm is installed.
      tile: lanes that are computed together, at most all; "auto" chooses by what a lane computes.
        Where that is a few numbers, it is rounded up to whole vectors; else the last bits of the
        results may depend on it, as XLA compiles each width to code of its own.
      block_size: lanes of one call of a device, rounded up to whole tiles; it bounds the memory
        that a sweep needs beside its results.
      workers: blocks that a device computes at a time, each in a thread; left out, one for each
        core of a CPU, and two for another device.
      devices: devices of one kind, such as `jax.local_devices()`, that share the blocks; left out,
        the default device.
      reduce: a reducer of `gdjax.reduce`, or a pytree of them: what is kept is not each lane but
        what they make of all, in memory that does not grow with the number of lanes.
      store: path of a directory for the arrays of the result: numpy's `.npy` files, mapped into
        memory, so that they may be larger than that. It is made where it is missing.
      diagnose: whether to say of each lane why it ended where it did, as `gdjax.diagnose` would:
        `runs.diagnosis`. The state of each lane's optimizer is kept for as long as that takes.
      **axes: for each argument of `lane` its values: an array or a list (one value a lane), a
        pytree of arrays with a leading lane axis, or what `gdjax.grid`, `gdjax.uniform`,
        `gdjax.sobol` or `gdjax.paired` returns.

    Returns:
      The runs: numpy arrays, shaped and named by the axes. With `reduce`, the same pytree with the
      result of each reducer.

    Raises:
      TypeError: an axis that the function does not take or lacks, values that are not numbers, a
        value that the function needs while it is traced (the length of an optax schedule, say),
        a descent that `gdjax.run` would refuse, or a call inside `jit` or with traced values.
      ValueError: an empty axis, two dimensions of one name, leaves of different length, a value
        out of the range of its dtype in JAX, a batch size of 0 or above its `most`, lanes that are
        reduced and diagnosed or stored, or a call inside `jax.disable_jit`.
      FileExistsError, NotADirectoryError: `store` has such arrays already, or is a file.

    >>> import gdjax, jax.numpy as jnp, optax
    >>> runs = gdjax.sweep(
    ...     lambda start, learning_rate: gdjax.Descent(lambda w: w**2, start,
    ...                                                optax.sgd(learning_rate)),
    ...     start=[1.0, 2.0], learning_rate=jnp.array([0.1, 0.5, 1.5]))
    >>> runs.dims, runs.shape
    (('start', 'learning_rate'), (2, 3))
    >>> runs.status.tolist()  # CONVERGED, CONVERGED, DIVERGED
    [[1, 1, 2], [1, 1, 2]]
    """
    check_concrete("key: got a traced value", key)
    lanes = checked_lanes(lane, axes, None if key is None else checks.typed_key("key", key))
    on = checked_devices(devices)
    # Inside jit, all that jax makes is traced.
    check_concrete("lane: sweep is called inside jit", zero())
    if jax.config.jax_disable_jit:
        raise ValueError(
            "lane: sweep compiles it, which jax.disable_jit() rules out; to see what it does, run "
            "one alone: gdjax.run(lane(...))"
        )
    shared = put_on(on[0], (lanes.sources, lanes.key))
    reducers = None if reduce is None else checked_reducers(reduce)
    if checks.flag("diagnose", diagnose) and reducers is not None:
        raise ValueError("diagnose: lanes that are reduced leave nothing to be diagnosed")
    if store is not None and reducers is not None:
        raise ValueError("store: lanes that are reduced leave no arrays to be stored")
    keep = reducers or (watched_outcome if diagnose else whole_outcome)
    program = lane_program(replace(lanes.lane, is_watched=diagnose), keep)
    traced, packing = _traced(program, lanes)
    if traced.sized:
        check_sizes(lanes)
    at_once = workers_of(workers, on)
    in_all = at_once * len(on)
    layout = block_layout(tile, block_size, traced, packing, lanes.shape, on[0], in_all)
    spread = lanes.count <= layout.tile * in_all
    spread = spread and not program.is_compiled(layout, on[0], shared)
    if spread:
        traced, packing = program.traced(lanes.sources, lanes.key, careful=True)
    if reducers is not None:
        collector = Reduced(reducers, traced, packing.kept)
    else:
        files = None if store is None else Store(store)
        collector = Arrays(lanes.shape, traced, packing.kept, files)
    each = lanes_of_a_block(layout, traced, lanes.count, in_all)
    cut = blocks(lanes.shape, layout.tile, each)
    options = {
        Fresh: compiler_options(traced, layout, on[0], careful=traced.careful),
        Waiting: compiler_options(traced, layout, on[0], careful=True),
    }
    request = Sweep(
        program,
        shared,
        cut,
        layout,
        options,
        packing,
        collector,
        traced,
        spread,
        seconds_a_turn(traced),
    )
    with progress_bar(lanes.count, progress) as bar:
        work = run_lanes(request, on, at_once, bar)
    if isinstance(collector, Reduced):
        return collector.finished()
    outcome, seen = collector.tree
    runs = Runs(**outcome._asdict(), work=work, lanes=lanes)
    if not diagnose:
        return runs
    shared = jax.device_put(shared, on[0])  # where it is looked at
    return replace(runs, diagnosis=diagnosed(lanes, shared, outcome, seen, at_once))


def _traced(program: LaneProgram, lanes: Lanes) -> tuple[TracedLane, Packings]:
    """Return the lane function traced; bad input is met here, before anything is compiled."""
    try:
        return program.traced(lanes.sources, lanes.key)
    except MAYBE_NOT_WHILE_TRACING as error:
        is_known = isinstance(error, NOT_WHILE_TRACING)
        if not is_known and _is_own(error):  # which says more
            raise
        values = jax.tree.map(lambda leaf: leaf[0], lanes.values(np.array([0])))
        names = [name for name in values if _fails(lanes, values, [name])]
        if not is_known and (not names or _fails(lanes, values, [])):
            raise
        raise TypeError(
            f"{', '.join(names) or 'lane'}: the lane function needs this value while it is "
            "traced, and so it cannot be swept: a shape, the length of an optax schedule or a "
            "Python `if` must not depend on it. Call sweep once for each value instead"
        ) from error


def _fails(lanes: Lanes, values: dict[str, Any], traced: list[str]) -> bool:
    """Return whether tracing fails where no other axes than these are traced."""

    def run(own: dict[str, Any]) -> Any:
        d = canonical(lanes.lane.descent(values | own, np.int32(0), lanes.key))
        return execute(d, first_state(d))

    try:
        jax.eval_shape(run, {name: values[name] for name in traced})
    except MAYBE_NOT_WHILE_TRACING:
        return True
    return False


def _is_own(error: BaseException) -> bool:
    """Return whether gdjax raised it."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_globals.get("__name__", "").startswith("gdjax.")
