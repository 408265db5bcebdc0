"""Where runs fall to that are pushed off a saddle, to either side."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.basins.critical import Precision, abreast, scaled_surface
from gdjax.basins.ends import Ends, Symmetry, canonical_params, tree_of
from gdjax.basins.looks import Looks
from gdjax.basins.members import Members, labels_of
from gdjax.curvature.extremes import both_ends, steps_for
from gdjax.descent import Status
from gdjax.descent.description import canonical
from gdjax.descent.running import execute
from gdjax.sweeps.lanes import Lane
from gdjax.trees import PyTree

PUSHES = (1.0, 10.0, 100.0)  # tolerances off the saddle: the first that leads to a minimum counts


def falls_to(looks: Looks, members: Members, ends: Ends, symmetry: Symmetry | None) -> np.ndarray:
    """Return the labels [attractors, 2] that runs of the same lane reach from a saddle's sides.

    They are pushed along the axis of least curvature, forward and backward; -1 where the run
    reaches no attractor of the table, and for all that is no saddle or maximum.
    """
    found = np.full((len(members.chosen), 2), -1, np.int32)
    saddles = members.chosen[members.bottoms :]
    if not len(saddles):
        return found
    lanes = members.lanes[saddles]
    points = jax.tree.map(lambda x: x[saddles], members.found).vector
    axes = looks.called(_axes_program, lanes, (points,))
    for push in reversed(PUSHES):
        for side, sign in enumerate((1.0, -1.0)):
            rows = points + sign * push * looks.tol * axes * looks.spread
            starts = jax.tree.map(
                lambda leaf, like: leaf.astype(like.dtype), tree_of(rows, ends.params), ends.params
            )
            params, status = looks.as_run(_runs_program, lanes, (starts,))
            if symmetry is not None:
                params = canonical_params(params, symmetry)
            label = labels_of(looks, members, lanes, looks.critical(lanes, params))
            reached = (label >= 0) & (status == Status.CONVERGED)
            found[members.bottoms :, side] = np.where(
                reached, label, found[members.bottoms :, side]
            )
    return found


@lru_cache(maxsize=32)
def _axes_program(lane: Lane, precision: Precision) -> Callable[..., jax.Array]:
    @jax.jit
    def axes(values: PyTree, numbers: Any, key: Any, points: jax.Array, spread) -> jax.Array:
        def look(one: tuple) -> jax.Array:
            values, number, point = one
            at = scaled_surface(lane, precision, values, number, key, spread)
            x = point / spread
            _, product = jax.linearize(jax.grad(at.loss), x)
            _, low = both_ends(product, x, jax.random.key(0), 1, steps_for(x.size, None))
            axis = low.vectors[0]
            return axis * jnp.sign(axis[jnp.argmax(jnp.abs(axis))])

        return lax.map(look, (values, numbers, points), batch_size=abreast(spread.size))

    return axes


@lru_cache(maxsize=32)
def _runs_program(lane: Lane) -> Callable[..., tuple[PyTree, jax.Array]]:
    @jax.jit
    def runs(values: PyTree, numbers: Any, key: Any, starts: PyTree) -> tuple[PyTree, jax.Array]:
        def run(values: PyTree, number: Any, start: PyTree) -> tuple[PyTree, jax.Array]:
            d = canonical(lane.descent(values, number, key))
            result = execute(replace(d, params=start, record=None), None)
            return result.params, result.status

        return jax.vmap(run)(values, numbers, starts)

    return runs
