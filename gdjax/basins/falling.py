"""Runs that are pushed off a saddle: along which axes, and to which minimum they fall."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.basins.critical import (
    CriticalPoint,
    Precision,
    abreast,
    is_bottom,
    scaled_surface,
)
from gdjax.basins.ends import Ends, Symmetry, canonical_params, tree_of
from gdjax.basins.gathering import newborn
from gdjax.basins.looks import Looks
from gdjax.curvature.extremes import both_ends, steps_for
from gdjax.descent import Descent, State, Status
from gdjax.descent.description import canonical
from gdjax.descent.running import execute
from gdjax.descent.stepping import updated
from gdjax.diagnosis.end import plain
from gdjax.diagnosis.point import NONE
from gdjax.diagnosis.surface import flatness
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane
from gdjax.trees import PyTree, max_abs

PUSHES = (1.0, 10.0, 100.0)  # tolerances off the saddle: the first that leads to a minimum counts
MOST_AXES = 16  # of negative curvature, the most negative


@lru_cache(maxsize=32)
def axes_program(lane: Lane, precision: Precision) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return a function to the axes of least curvature [n, k, dim], and which have a negative one.

    They are those of the Hessian itself, not of that in units of the spread: along them descent
    leaves a saddle.
    """

    @ConstantsApart
    def axes(values: PyTree, numbers: Any, key: Any, points: jax.Array, spread) -> tuple:
        def look(one: tuple) -> tuple:
            values, number, point = one
            at = scaled_surface(lane, precision, values, number, key, spread)
            x = point / spread
            _, scaled = jax.linearize(jax.grad(at.loss), x)
            count, steps = min(MOST_AXES, x.size), steps_for(x.size, None)
            high, low = both_ends(
                lambda v: scaled(v / spread) / spread, x, jax.random.key(0), count, steps
            )
            largest = jnp.maximum(jnp.abs(low.values[0]), jnp.abs(high.values[0]))
            rounding = jnp.maximum(low.errors, flatness(at.eps) * largest)
            leading = jnp.argmax(jnp.abs(low.vectors), axis=1)[:, None]
            signs = jnp.sign(jnp.take_along_axis(low.vectors, leading, axis=1))
            return low.vectors * signs, low.values > rounding

        return lax.map(look, (values, numbers, points), batch_size=abreast(spread.size))

    return axes


def fallen(
    looks: Looks,
    ends: Ends,
    symmetry: Symmetry | None,
    lanes: np.ndarray,
    vectors: np.ndarray,
    ways: np.ndarray,
) -> CriticalPoint:
    """Return the minima [n] that runs of some lanes reach from saddles [n, dim] pushed along ways.

    Ways are in units of the spread, of any length. The kind is NONE where no minimum is reached.
    """
    ways = ways / np.linalg.norm(ways, axis=1, keepdims=True)

    def pushed(rows: np.ndarray, push: float) -> CriticalPoint:
        there = vectors[rows] + push * looks.tol * ways[rows] * looks.spread
        starts = jax.tree.map(
            lambda leaf, like: leaf.astype(like.dtype), tree_of(there, ends.params), ends.params
        )
        params, status = looks.as_run(_runs_program, lanes[rows], (starts,))
        if symmetry is not None:
            params = canonical_params(params, symmetry)
        found = looks.critical(lanes[rows], params)
        arrived = (status == Status.CONVERGED) & is_bottom(found.kind)
        return found._replace(kind=np.where(arrived, found.kind, NONE))

    found = pushed(np.arange(len(lanes)), PUSHES[0])
    for push in PUSHES[1:]:
        left = np.flatnonzero(found.kind == NONE)
        if len(left):
            found = jax.tree.map(_with(left), found, pushed(left, push))
    return found


def _with(rows: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function that puts others in the place of these rows."""

    def put(leaf: np.ndarray, others: np.ndarray) -> np.ndarray:
        whole = leaf.copy()
        whole[rows] = others
        return whole

    return put


@lru_cache(maxsize=32)
def _runs_program(lane: Lane) -> Callable[..., tuple[PyTree, jax.Array]]:
    @ConstantsApart
    def runs(values: PyTree, numbers: Any, key: Any, starts: PyTree) -> tuple[PyTree, jax.Array]:
        def run(values: PyTree, number: Any, start: PyTree) -> tuple[PyTree, jax.Array]:
            d = canonical(lane.descent(values, number, key))
            d = replace(d, params=_away(d, start), record=None)
            result = execute(d, None)
            return result.params, result.status

        return jax.vmap(run)(values, numbers, starts)

    return runs


def _away(d: Descent, start: PyTree) -> PyTree:
    """Return where a run is that has left a saddle, where its gradient is past its peak.

    Nearer to the saddle its own stop would end it at once.
    """
    d = plain(d)

    def leaving(carry: tuple[State, jax.Array]) -> jax.Array:
        state, peak = carry
        return (state.step < d.max_steps) & (max_abs(state.grad) >= peak / 2) & (peak > 0)

    def step(carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state = updated(d, carry[0])
        return state, jnp.maximum(carry[1], max_abs(state.grad))

    first = newborn(d, start, jnp.zeros((), jnp.int32))
    return lax.while_loop(leaving, step, (first, max_abs(first.grad)))[0].params
