"""The compiled programs of a lane function, found again by it."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent import Result
from gdjax.descent.description import canonical
from gdjax.descent.running import execute
from gdjax.descent.stepping import first_state
from gdjax.sweeps.lanes import Lane
from gdjax.trees import PyTree


class Outcome(NamedTuple):
    """What a sweep keeps of each lane; every array has a leading lane axis."""

    params: PyTree
    loss: jax.Array
    grad_norm: jax.Array
    steps: jax.Array
    status: jax.Array
    record: PyTree


def run_lane(lane: Lane, values: PyTree, number: Any, key: jax.Array | None) -> Result:
    """Return the result of one lane."""
    d = canonical(lane.descent(values, number, key))
    return execute(d, first_state(d))


# As many as a session alternates between; more would only keep what dead lambdas close over.
@lru_cache(maxsize=32)
def lane_program(lane: Lane) -> Callable[..., Result]:
    """Return `run_lane` of one lane function, so that all its programs share one trace."""
    return jax.jit(partial(run_lane, lane))


@lru_cache(maxsize=32)
def block_program(lane: Lane) -> Callable[..., Outcome]:
    """Return the run of a block, a function of `(values, numbers, tiles, key)`.

    `values` and `numbers` have leading axes [tiles at most, lanes a tile]; the first `tiles` are
    run, one tile after the other, and all values of `tiles` share one compilation.
    """
    program = lane_program(lane)

    @jax.jit
    def run_block(values: PyTree, numbers: jax.Array, tiles: Any, key: Any) -> Outcome:
        def run_tile(tile: jax.Array) -> Outcome:
            here = jax.tree.map(
                lambda leaf: lax.dynamic_index_in_dim(leaf, tile, keepdims=False),
                (values, numbers),
            )
            result = jax.vmap(program, in_axes=(0, 0, None))(*here, key)
            return Outcome(*(getattr(result, name) for name in Outcome._fields))

        def write_tile(tile: jax.Array, block: Outcome) -> Outcome:
            return jax.tree.map(
                lambda rows, row: lax.dynamic_update_index_in_dim(rows, row, tile, 0),
                block,
                run_tile(tile),
            )

        empty = jax.tree.map(
            lambda leaf: jnp.zeros((len(numbers), *leaf.shape), leaf.dtype),
            jax.eval_shape(run_tile, jnp.zeros((), jnp.int32)),
        )
        block = lax.fori_loop(jnp.zeros((), jnp.int32), tiles, write_tile, empty)
        return jax.tree.map(lambda leaf: leaf.reshape(numbers.size, *leaf.shape[2:]), block)

    return run_block
