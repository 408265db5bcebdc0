"""The map: which attractor each start leads to."""

from typing import Any

import jax
import numpy as np

from gdjax import checks
from gdjax.basins.attractors import Attractors, Basins
from gdjax.basins.cycles import cycles_of, with_cycles
from gdjax.basins.ends import Ends, Symmetry, ends_in_line, ends_of, spread_of, tree_of
from gdjax.basins.gathering import Gathered, by_loss, cells_of, distances
from gdjax.basins.looks import SAMPLE, Looks, looks_at
from gdjax.basins.members import Members, gaps, members_of, verdicts
from gdjax.basins.sides import led_on, sides
from gdjax.descent import Status
from gdjax.sweeps import Runs

AMBIGUOUS = 1 / 3  # of the gap to the next attractor: twice as near to one's own is near enough


def map_basins(runs: Runs, tol: float = 1e-3, symmetry: Symmetry | None = None) -> Basins:
    """Find the distinct attractors among the ends of the runs, and label every start with its own.

    The ends of converged runs are gathered in cells, and one end of each cell is polished by
    Newton's method, in double precision where the loss can be computed in it. It is refused where
    Newton's method leads far away, raises the loss, or finds no critical point. Points within
    `tol` of each other are merged, as are degenerate ones that a path joins along which the loss
    does not rise: a valley or a plateau is one attractor. Beyond 256 parameters that is done
    without the Hessian, by products with it. A run that stopped beside a saddle ends there if it is
    on its stable manifold up to rounding; one that came by it is followed to where it falls. A run
    out of budget that goes round a cycle is of that, in whichever phase.

    Args:
      runs: from `gdjax.sweep`.
      tol: number > 0: ends that differ in no coordinate by more than about `tol` times its spread
        (over starts and ends) are one minimum, and chains of such ends too.
      symmetry: function of the parameters of one run to equivalent ones, with the same loss, in a
        canonical form (say, the neurons of a layer sorted); traced by JAX. Ends that it makes the
        same are one. Where it jumps, as a phase modulo 2π does at 0, it parts a minimum that lies
        there: let it jump where none does.

    Returns:
      The map. Labels do not depend on the order or number of the starts as long as the same
      attractors are reached: minima and valleys come first, then saddles and maxima, which starts
      on their line of symmetry reach, then cycles; each sorted by loss, where losses differ by
      more than their rounding, then by coordinates.

    Raises:
      TypeError: `runs` is not from `gdjax.sweep`, `tol` is not a real number, or `symmetry` is no
        function from parameters to such.
      ValueError: `tol` is not finite or not above 0, or `symmetry` changes the loss.

    >>> import gdjax, optax
    >>> well = gdjax.landscapes.double_well
    >>> runs = gdjax.sweep(lambda start: gdjax.Descent(well, start, optax.sgd(0.1)),
    ...                    start=gdjax.grid((-2, 2, 10), (-2, 2, 10)))
    >>> basins = gdjax.map_basins(runs)
    >>> basins.attractors.params.round(3).tolist(), basins.attractors.size.tolist()
    ([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], [25, 25, 25, 25])
    """
    if not isinstance(runs, Runs):
        raise TypeError(f"runs: expected what gdjax.sweep returns, got {runs!r}")
    tol = float(checks.positive_scalar("tol", tol))
    if symmetry is not None:
        checks.function("symmetry", symmetry)
    ends = ends_of(runs, symmetry)
    converged = np.flatnonzero(runs.status.ravel() == Status.CONVERGED)
    spread, resolution = spread_of(runs, ends, converged, symmetry)
    looks = looks_at(runs.lanes, ends, converged, spread, tol, resolution)
    if symmetry is not None:
        _check_symmetry(looks, runs, ends, converged)
    cells = _cells(runs, ends, converged, looks)
    found = looks.critical(cells.lanes, ends.of(cells.lanes))
    cells, found, went_on = led_on(looks, ends, converged, cells, found, symmetry)
    members = members_of(looks, cells.lanes, found)
    away = distances(ends, converged, spread, members.scaled, cells.of)
    own, unclear, separation = _labels(np.where(went_on, 0, away), cells, members, looks)
    labels = np.full(runs.lanes.count, -1, np.int32)
    ambiguous = np.zeros(runs.lanes.count, bool)
    labels[converged], ambiguous[converged] = own, unclear
    cycles = cycles_of(runs, ends, looks, symmetry)
    known = cycles.label >= 0
    labels[cycles.lanes[known]] = len(members.chosen) + cycles.label[known]
    attractors = with_cycles(
        _attractors(looks, members, ends, converged, cells, symmetry), cycles, ends
    )
    count = len(attractors.loss)
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    return Basins(
        labels=labels.reshape(runs.shape),
        attractors=attractors._replace(size=sizes),
        dims=runs.dims,
        coords=runs.coords,
        ambiguous=ambiguous.reshape(runs.shape),
        separation=separation,
    )


def _cells(runs: Runs, ends: Ends, lanes: np.ndarray, looks: Looks) -> Gathered:
    return cells_of(
        ends,
        lanes,
        looks.spread,
        looks.tol,
        runs.grad_norm.ravel()[lanes].astype(float),
        runs.loss.ravel()[lanes].astype(float) / looks.descent,
        by_loss(runs.lanes, lanes),
    )


def _labels(
    away: np.ndarray, cells: Gathered, members: Members, looks: Looks
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the labels of runs [n], which of them are ambiguous, and the separation.

    `away` is how far each ended from the critical point of its cell.
    """
    gap, smallest = gaps(members, looks.tol)
    label, lost = members.label[cells.of], cells.of < 0
    unclear = (away > AMBIGUOUS * gap[cells.of]) | members.chained[cells.of]
    unclear = lost | (label >= 0) & unclear
    farthest = np.max(away[(label >= 0) & ~unclear], initial=0.0)
    known = len(members.chosen) > 0
    separation = np.divide(smallest, farthest) if farthest > 0 else np.inf
    return np.where(unclear, -1, label), unclear, float(separation) if known else np.nan


def _attractors(
    looks: Looks,
    members: Members,
    ends: Ends,
    lanes: np.ndarray,
    cells: Gathered,
    symmetry: Symmetry | None,
) -> Attractors:
    found: Any = jax.tree.map(lambda x: x[members.chosen], members.found)
    verdict, dimension = verdicts(looks, members)
    index, falls_to = sides(looks, members, ends, lanes, cells, symmetry)
    count = len(verdict)
    return Attractors(
        params=tree_of(found.vector, ends.params),
        loss=found.loss,
        loss_error=found.loss_error,
        curvature_min=found.curvature_min,
        curvature_max=found.curvature_max,
        size=np.zeros(count, int),
        verdict=verdict,
        index=index,
        flat_dimension=dimension,
        period=np.zeros(count, np.int32),
        falls_to=falls_to,
        orbits=tree_of(np.zeros((0, found.vector.shape[1]), found.vector.dtype), ends.params),
    )


def _check_symmetry(looks: Looks, runs: Runs, ends: Ends, lanes: np.ndarray) -> None:
    some = lanes[:SAMPLE]
    if not len(some):
        return
    before, after = looks.losses(some, ends_in_line(runs, some)), looks.losses(some, ends.of(some))
    allowed = looks.eps**0.5 * np.maximum(np.abs(before), looks.descent)
    if not np.all(np.abs(after - before) <= allowed):
        worst = int(np.argmax(np.abs(after - before)))
        raise ValueError(
            f"symmetry: expected the loss to stay as it is, {before[worst]:g}, "
            f"it becomes {after[worst]:g}"
        )
