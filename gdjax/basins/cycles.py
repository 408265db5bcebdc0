"""Cycles: runs out of budget that go round a periodic orbit, in whichever phase."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.basins.attractors import Attractors
from gdjax.basins.cells import features
from gdjax.basins.critical import FARTHEST_POLISH
from gdjax.basins.ends import Ends, Symmetry, canonical_params, ends_in_line, tree_of
from gdjax.basins.gathering import by_dynamics, cells_of, newborn
from gdjax.basins.looks import Looks
from gdjax.basins.members import in_order
from gdjax.basins.merging import connected
from gdjax.descent import Descent, State, Status
from gdjax.descent.description import canonical
from gdjax.descent.running import execute
from gdjax.descent.stepping import updated
from gdjax.diagnosis.ahead import go_on, nothing_yet
from gdjax.diagnosis.end import End, plain, remembers, state_at
from gdjax.diagnosis.orbit import LONGEST_PERIOD
from gdjax.diagnosis.verdict import Verdict
from gdjax.sweeps import Runs
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane
from gdjax.trees import PyTree, real_columns, real_dtype

ROUNDED = 8  # roundings of a loss that may be all that two differ by
SETTLING = 1024  # steps after which an orbit that attracts is as closed as rounding lets it be


class Cycles(NamedTuple):
    """The periodic orbits of some runs."""

    lanes: np.ndarray  # int [n] of runs that are out of budget
    label: np.ndarray  # int [n] of the cycle, -1 where there is none
    period: np.ndarray  # int32 [cycles]
    points: np.ndarray  # [cycles, LONGEST_PERIOD, dim], NaN beyond the period
    loss: np.ndarray  # [cycles] mean
    loss_error: np.ndarray  # [cycles]


def cycles_of(runs: Runs, ends: Ends, looks: Looks, symmetry: Symmetry | None) -> Cycles:
    """Find the cycles of runs that ended at the limit of their steps."""
    limited = runs.status.ravel() == Status.STEP_LIMIT
    if runs.diagnosis is not None:
        limited &= np.asarray(runs.diagnosis.verdict).ravel() == Verdict.OSCILLATING
    lanes = np.flatnonzero(limited)
    if not len(lanes):
        dim, nothing = ends.dim, np.zeros(0)
        points = np.zeros((0, LONGEST_PERIOD, dim))
        return Cycles(lanes, np.zeros(0, int), np.zeros(0, np.int32), points, nothing, nothing)
    apart = by_dynamics(runs.lanes, lanes)
    grad_norm, loss = (x.ravel()[lanes].astype(float) for x in (runs.grad_norm, runs.loss))
    cells = cells_of(ends, lanes, looks.spread, looks.tol, grad_norm, loss / looks.descent, apart)
    period, points, losses = _orbits(runs, cells.lanes, looks, symmetry)
    scaled = points / looks.spread
    end = ends.rows(cells.lanes)[:, None] / looks.spread
    away = np.min(np.nan_to_num(np.max(np.abs(scaled - end), axis=2), nan=np.inf), axis=1)
    own = np.flatnonzero((period > 1) & (away <= FARTHEST_POLISH))
    group = _same(scaled[own], period[own], looks.tol)
    mean, error = np.nanmean(losses[own], axis=1), looks.eps * np.nanmax(np.abs(losses[own]), 1)
    by_group = np.lexsort((*features(scaled[own, 0]).T[::-1], mean, group))
    best = by_group[np.unique(group[by_group], return_index=True)[1]]
    order = in_order(mean[best], ROUNDED * error[best], scaled[own, 0][best], looks.tol)
    label_of_cell = np.full(len(cells.lanes), -1)
    label_of_cell[own] = np.argsort(order)[group]
    chosen = best[order]
    label = np.where(cells.of >= 0, label_of_cell[cells.of], -1)
    return Cycles(
        lanes, label, period[own][chosen], points[own][chosen], mean[chosen], error[chosen]
    )


def _orbits(
    runs: Runs, lanes: np.ndarray, looks: Looks, symmetry: Symmetry | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return periods, points [n, LONGEST_PERIOD, dim] and their losses, lowest first."""
    params = ends_in_line(runs, lanes)
    steps = runs.steps.ravel()[lanes]
    period, tree, loss = looks.as_run(_orbits_program, lanes, (params, steps))
    tree = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)
    if symmetry is not None:
        tree = canonical_params(tree, symmetry)
    points = real_columns(tree).reshape(len(lanes), LONGEST_PERIOD, -1)
    number = np.arange(LONGEST_PERIOD)
    beyond = number >= period[:, None]
    points, loss = np.where(beyond[..., None], np.nan, points), np.where(beyond, np.nan, loss)
    first = _first(np.where(beyond, np.inf, loss), points / looks.spread, looks)
    turned = (number + first[:, None]) % np.maximum(period, 1)[:, None]
    turned = np.where(beyond, number, turned)
    return (
        period,
        np.take_along_axis(points, turned[..., None], axis=1),
        np.take_along_axis(loss, turned, axis=1),
    )


def _first(loss: np.ndarray, points: np.ndarray, looks: Looks) -> np.ndarray:
    """Return the place of the lowest point of each orbit; of a tie, that of least coordinates."""
    lowest = np.min(loss, axis=1, keepdims=True)
    is_first = loss <= lowest + ROUNDED * looks.eps * np.abs(lowest)
    for column in np.moveaxis(points, 2, 0):
        least = np.min(np.where(is_first, column, np.inf), axis=1, keepdims=True)
        is_first &= column <= least + looks.tol
    return np.argmax(is_first, axis=1)


def _same(points: np.ndarray, period: np.ndarray, tol: float) -> np.ndarray:
    """Return a group number for each orbit [n, LONGEST_PERIOD, dim]: those with a common point."""
    from scipy.spatial import KDTree  # scipy is slow to import, and few programs map basins

    count = len(points)
    if not count:
        return np.zeros(0, int)
    rows = points.reshape(-1, points.shape[2])
    known = np.flatnonzero(np.isfinite(rows).all(axis=1))
    owner, near = known // LONGEST_PERIOD, features(rows[known])
    pairs = KDTree(near).query_pairs(tol, p=np.inf, output_type="ndarray")
    away = np.max(np.abs(rows[known[pairs[:, 0]]] - rows[known[pairs[:, 1]]]), axis=1, initial=0.0)
    links = owner[pairs[away <= 4 * tol]]
    return connected(count, [links[period[links[:, 0]] == period[links[:, 1]]]])


def with_cycles(attractors: Attractors, cycles: Cycles, ends: Ends) -> Attractors:
    """Return the table with the cycles as its last rows."""
    count, longest = len(cycles.period), int(np.max(cycles.period, initial=0))
    if not count:
        return attractors
    zero, nothing = np.zeros(count, np.int32), np.full(count, np.nan)
    points = cycles.points[:, :longest]
    rows = tree_of(points.reshape(count * longest, -1), ends.params)
    own = Attractors(
        params=tree_of(points[:, 0], ends.params),
        loss=cycles.loss,
        loss_error=cycles.loss_error,
        curvature_min=nothing,
        curvature_max=nothing,
        size=zero,
        verdict=np.full(count, Verdict.OSCILLATING, np.int8),
        index=zero,
        flat_dimension=zero,
        period=cycles.period,
        falls_to=np.full((count, 2), -1, np.int32),
        orbits=jax.tree.map(lambda leaf: leaf.reshape(count, longest, *leaf.shape[1:]), rows),
    )
    table = jax.tree.map(
        lambda a, b: np.concatenate([a, b]), attractors, own._replace(orbits=attractors.orbits)
    )
    return table._replace(orbits=own.orbits)


@lru_cache(maxsize=32)
def _orbits_program(lane: Lane) -> Callable[..., tuple[jax.Array, PyTree, jax.Array]]:
    @ConstantsApart
    def orbits(values: PyTree, numbers: Any, key: Any, params: PyTree, steps: Any) -> tuple:
        def look(values: PyTree, number: Any, params: PyTree, steps: Any) -> tuple:
            d = canonical(lane.descent(values, number, key))
            first = _last_state(d, params, steps)
            d, no_tolerance = plain(d), jnp.zeros((), real_dtype(params))
            ahead = go_on(d, nothing_yet(first), no_tolerance, jnp.ones((), bool))
            state = lax.fori_loop(0, SETTLING, lambda _, s: updated(d, s), ahead.state)
            _, (points, losses) = lax.scan(
                lambda s, _: (updated(d, s), (s.params, s.loss)), state, length=LONGEST_PERIOD
            )
            return jnp.where(ahead.closed, ahead.orbit.period, 0), points, losses

        return jax.vmap(look)(values, numbers, params, steps)

    return orbits


def _last_state(d: Descent, params: PyTree, steps: jax.Array) -> State:
    """Return the state of a plain descent at the end of a run, with what its optimizer remembers.

    That is not kept of runs: where it is more than counts, the run is repeated.
    """
    if not remembers(jax.eval_shape(d.optimizer.init, params)):
        return newborn(plain(d), params, steps)
    end = execute(replace(d, record=None), None)
    memory = end.state.opt_state
    return state_at(plain(d), End(end.params, memory, end.steps, end.status, end.loss))
