"""The ends of runs gathered in cells, of each of which one is looked at."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.basins.cells import MOST_RAW, features, gathered
from gdjax.basins.ends import Ends, parts
from gdjax.descent import Descent, State
from gdjax.descent.description import canonical, whole_arguments
from gdjax.descent.stepping import updated
from gdjax.diagnosis.end import End, plain, state_at
from gdjax.lanewise import Value, traced
from gdjax.losses import value
from gdjax.sweeps.lanes import Lanes
from gdjax.trees import PyTree, strongly_typed

CLOSE = 4.0  # tolerances that an end may be from the one that stands for it
ROUNDS = 3  # of projections, for ends that only seem to be close in one


class Gathered(NamedTuple):
    """The cells of ends [n]."""

    of: np.ndarray  # int32 [n] the cell of each, -1 where it is close to none
    lanes: np.ndarray  # int [cells] the lane that stands for each


def cells_of(
    ends: Ends,
    lanes: np.ndarray,
    spread: np.ndarray,
    tol: float,
    preferred: np.ndarray,
    loss: np.ndarray,
    apart: np.ndarray,
) -> Gathered:
    """Gather the ends of lanes [n], which are never in one cell where `apart` [n] differs.

    Args:
      ends: those of all lanes.
      lanes: numbers of lanes.
      spread: [dim]
      tol: in its units.
      preferred: [n]; an end where it is least stands for its cell.
      loss: [n] in units of a descent, which helps to tell ends in many dimensions.
      apart: int [n].
    """
    of, left = np.full(len(lanes), -1, np.int32), np.arange(len(lanes))
    chosen: list[np.ndarray] = []
    raw = ends.dim <= MOST_RAW
    for seed in range(1 if raw else ROUNDS):
        own = lanes[left]
        columns = _features(ends, own, spread, seed)
        if not raw:
            columns = [*columns, loss[left]]
        # Half as wide as the reach of a link, so that points of neighbouring cells are linked.
        cells = gathered(columns, tol / 2, [preferred[left], *columns], apart[left])
        first = own[cells.first]
        close = np.ones(len(left), bool)
        if not raw:
            centres = ends.rows(first) / spread
            close = distances(ends, own, spread, centres, cells.of) <= CLOSE * tol
        of[left[close]] = cells.of[close] + sum(map(len, chosen))
        chosen.append(first)
        left = left[~close]
        if not len(left):
            break
    return Gathered(of, np.concatenate(chosen))


def distances(
    ends: Ends, lanes: np.ndarray, spread: np.ndarray, centres: np.ndarray, of: np.ndarray
) -> np.ndarray:
    """Return how far the ends of lanes [n] are from their centres, in no coordinate farther.

    `centres` [cells, dim] are in units of the spread, `of` [n] says which.
    """
    found = np.empty(len(lanes))
    for part in parts(len(lanes), ends.dim):
        away = ends.rows(lanes[part])
        away /= spread
        away -= centres[of[part]]
        found[part] = np.max(np.abs(away, out=away), axis=1, initial=0.0)
    return found


def _features(
    ends: Ends, lanes: np.ndarray, spread: np.ndarray, seed: int
) -> tuple[np.ndarray, ...]:
    blocks = [
        features(ends.rows(lanes[part]) / spread, seed).T for part in parts(len(lanes), ends.dim)
    ]
    return tuple(np.concatenate(blocks, axis=1)) if blocks else ()


def by_loss(lanes: Lanes, numbers: np.ndarray) -> np.ndarray:
    """Return numbers that differ for lanes [n] whose losses are different functions."""

    def loss(d: Descent, params: PyTree) -> PyTree:
        return value(d.loss, params, whole_arguments(d))

    return _by(lanes, numbers, loss)


def by_dynamics(lanes: Lanes, numbers: np.ndarray) -> np.ndarray:
    """Return numbers that differ for lanes [n] whose updates are different functions."""

    def update(d: Descent, params: PyTree) -> PyTree:
        d = plain(d)
        return updated(d, newborn(d, params, jnp.zeros((), jnp.int32))).params

    return _by(lanes, numbers, update)


def newborn(d: Descent, params: PyTree, steps: jax.Array) -> State:
    """Return a state of a plain descent at some params, where its optimizer remembers nothing."""
    opt_state = strongly_typed(d.optimizer.init(params))
    status, unknown = jnp.zeros((), jnp.int8), jnp.full((), jnp.nan)
    return state_at(d, End(params, opt_state, steps, status, unknown))


def _by(
    lanes: Lanes, numbers: np.ndarray, function: Callable[[Descent, PyTree], PyTree]
) -> np.ndarray:
    values = jax.eval_shape(
        lambda: jax.tree.map(lambda leaf: leaf[0], lanes.values(np.zeros(1, int)))
    )
    number = jax.ShapeDtypeStruct((), np.int32)
    params = jax.eval_shape(lambda: strongly_typed(lanes.descent(0).params))

    def of_lane(values: PyTree, number: jax.Array, params: PyTree) -> PyTree:
        return function(canonical(lanes.lane.descent(values, number, lanes.key)), params)

    program, _ = traced(of_lane, values, number, params)
    used = {a.number for o in program.operations for a in o.inputs if isinstance(a, Value)}
    used |= {a.number for a in program.outputs if isinstance(a, Value)}
    names = [v.number in used for v in program.inputs]
    count = len(jax.tree.leaves(values))
    if names[count]:
        return numbers
    by_name = jax.tree.unflatten(jax.tree.structure(values), names[:count])
    place, found, first = np.unravel_index(numbers, lanes.shape), np.zeros(len(numbers), int), 0
    for name, axis in lanes.axes.items():
        for index, length in zip(place[first : first + len(axis.dims)], axis.shape):
            if any(jax.tree.leaves(by_name[name])):
                found = found * length + index
        first += len(axis.dims)
    return found
