"""Many runs at once: `sweep`."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from gdjax.descent import Descent, Result
from gdjax.descent.description import typed_key
from gdjax.sweeps.axes.concrete import check_concrete
from gdjax.sweeps.engine import run_lanes
from gdjax.sweeps.lanes import Lanes, checked_lanes
from gdjax.sweeps.programs import lane_program, run_lane
from gdjax.sweeps.runs import Runs

NOT_WHILE_TRACING = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def sweep(
    lane: Callable[..., Descent],
    /,
    *,
    key: jax.Array | None = None,
    progress: bool | None = None,
    tile: int | Literal["auto"] = "auto",
    block_size: int | None = None,
    **axes: Any,
) -> Runs:
    """Run a lane function at every combination of its axes, compiled once for all of them.

    Each keyword is an axis, and the product runs over them in the order given, the last fastest.
    The lane function is traced: starts, learning rates, tolerances, data or budgets of steps may
    depend on the swept values, as long as no shape does. A lane ends as `gdjax.run` of its
    descent alone would, to the rounding of its arithmetic, whatever the others do. A second sweep
    of the same function, with values of the same shapes, compiles nothing: what the function
    closes over is read when it is traced, and a variable that changes afterwards is not seen;
    sweep it, or make a new function.

    Args:
      lane: function from one value of each axis, by keyword, to a `gdjax.Descent`.
      key: a random key; lane number i gets `jax.random.fold_in(key, i)` as its keyword `key`, or,
        where it takes none, as the key of its descent if that has none.
      progress: whether to show a bar; None shows it on a terminal where tqdm is installed.
      tile: lanes that are computed together; "auto" chooses by the size of a lane's state. The
        last bits of the results may depend on it, as XLA compiles each width to code of its own.
      block_size: lanes of one call of the device, rounded up to whole tiles.
      **axes: for each argument of `lane` its values: an array or a list (one value a lane), a
        pytree of arrays with a leading lane axis, or what `gdjax.grid`, `gdjax.uniform`,
        `gdjax.sobol` or `gdjax.paired` returns.

    Returns:
      The runs: numpy arrays, shaped and named by the axes.

    Raises:
      TypeError: an axis that the function does not take or lacks, values that are not numbers, a
        value that the function needs while it is traced (the length of an optax schedule, say),
        a descent that `gdjax.run` would refuse, or a call inside `jit` or with traced values.
      ValueError: an empty axis, two dimensions of one name, leaves of different length, a value
        out of the range of its dtype in JAX.

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
    lanes = checked_lanes(lane, axes, None if key is None else typed_key("key", key))
    outcome = run_lanes(lanes, _lane_shapes(lanes), tile, block_size, progress)
    return Runs(
        **{
            name: jax.tree.map(lambda leaf: leaf.reshape(*lanes.shape, *leaf.shape[1:]), values)
            for name, values in outcome._asdict().items()
        },
        lanes=lanes,
    )


def _lane_shapes(lanes: Lanes) -> Result:
    """Return the shapes and dtypes of one lane's result; bad input is met here, while tracing."""
    number = np.int32(0)
    values = jax.tree.map(lambda leaf: leaf[0], lanes.values(np.array([number])))
    try:
        return jax.eval_shape(lane_program(lanes.lane), values, number, lanes.key)
    except NOT_WHILE_TRACING as error:
        names = [name for name in values if _needs_value(lanes, values, name)]
        raise TypeError(
            f"{', '.join(names) or 'lane'}: the lane function needs this value while it is "
            "traced, and so it cannot be swept: a shape, the length of an optax schedule or a "
            "Python `if` must not depend on it. Call sweep once for each value instead"
        ) from error


def _needs_value(lanes: Lanes, values: dict[str, Any], name: str) -> bool:
    """Return whether tracing fails already where this axis alone has no value."""

    def run(value: Any) -> Result:
        return run_lane(lanes.lane, values | {name: value}, np.int32(0), lanes.key)

    try:
        jax.eval_shape(run, values[name])
    except NOT_WHILE_TRACING:
        return True
    return False
