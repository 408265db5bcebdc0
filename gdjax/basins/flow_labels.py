"""The true map of basins: where the gradient flow leads from every start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdjax import checks
from gdjax.basins.flow import FlowEnds, check_diffrax, check_losses, flow_ends, starts_of
from gdjax.basins.joint_map import joint_map
from gdjax.basins.map_basins import Attractors
from gdjax.basins.start_axes import StartAxes, first_numbers, start_axes
from gdjax.descent import Status
from gdjax.sweeps import Runs
from gdjax.trees import PyTree

TOLERANCES = (1e-6, 1e-9)


@dataclass(frozen=True, eq=False)
class FlowLabels:
    """Where the gradient flow leads; arrays over those dimensions that the start depends on.

    Attributes:
      labels: int32, the index of an attractor; -1 where it is unresolved, or the flow leaves.
      unresolved: bool, whether it is unknown where the flow leads: at the two tolerances it ends
        at two attractors, or one of them ends at none (at a saddle, or out of steps).
      attractors: the minima, those first, in their order, that `map_basins` of the runs finds,
        then those that only the flow reached; `size` counts the runs.
      starts: the starts and their losses, arrays [starts, ...] in C order.
      ends: the ends at the coarser and at the finer tolerance, likewise.
      dims: the names of the dimensions.
      coords: the coordinates along them, by name.
    """

    labels: np.ndarray
    unresolved: np.ndarray
    attractors: Attractors
    starts: tuple[PyTree, np.ndarray]
    ends: tuple[FlowEnds, FlowEnds]
    dims: tuple[str, ...]
    coords: Mapping[str, np.ndarray]


def flow_labels(
    runs: Runs,
    *,
    tol: float = 1e-3,
    tolerances: tuple[float, float] = TOLERANCES,
    max_steps: int = 10_000,
) -> FlowLabels:
    """Integrate ẇ = −∇L from every start, and label the start with the attractor it leads to.

    The flow does not depend on the optimizer, and is integrated once for each start, whatever
    other axes the sweep has; with batches, that of the loss of all examples. Two tolerances are
    used, since one alone does not tell what is near a border. The method is L-stable up to 256
    parameters (Kvaerno's of order 5), and explicit beyond (Tsitouras's), for which an
    ill-conditioned loss takes as many steps as its condition number. It is done in float64,
    whatever the precision of the runs, and stops where the flow has slowed down so far that 1e-10
    of the spread of the starts is left. The ends are mapped together with those of the runs.

    Args:
      runs: from `gdjax.sweep`.
      tol: as in `map_basins`.
      tolerances: two numbers > 0, the coarser first: the error of a step, relative, and in units
        of the spread of the starts.
      max_steps: whole number >= 1, the most steps of the integrator.

    Returns:
      The labels, in the numbers that `map_basins` gives the runs.

    Raises:
      ModuleNotFoundError: diffrax is not installed: `pip install 'gdjax[flow]'`.
      TypeError: `runs` is not from `gdjax.sweep`, or an argument is not a number.
      ValueError: a number is out of its range, or the loss draws random numbers that are others in
        float64.

    References:
      Asenjo, Stevenson, Wales, Frenkel, Visualizing basins of attraction for different
      minimization algorithms, J. Phys. Chem. B 117, 2013. Suryadevara, Casiulis, Martiniani, The
      basins of attraction of soft sphere packings are not fractal, arXiv 2409.12113, 2024.
      Kværnø, Singly diagonally implicit Runge-Kutta methods with an explicit first stage, 2004.

    >>> import gdjax, optax
    >>> runs = gdjax.sweep(lambda start: gdjax.Descent(lambda w: w**4 / 4 - w**2 / 2, start,
    ...                                                optax.sgd(0.4)), start=[-0.5, 0.0, 0.5, 2.0])
    >>> gdjax.map_basins(runs).minima.labels.tolist()  # the first step from 2 leads to -0.4
    [0, -1, 1, 0]
    >>> flow = gdjax.basins.flow_labels(runs)
    >>> flow.labels.tolist(), flow.unresolved.tolist()
    ([0, -1, 1, 1], [False, True, False, False])
    """
    if not isinstance(runs, Runs):
        raise TypeError(f"runs: expected what gdjax.sweep returns, got {runs!r}")
    checks.positive_scalar("tol", tol)
    coarse, fine = _checked(tolerances)
    max_steps = checks.whole_number("max_steps", max_steps, least=1)
    axes = start_axes(runs.lanes)
    numbers = first_numbers(runs.shape, axes).ravel()
    check_diffrax()
    starts = starts_of(runs.lanes, numbers)
    check_losses(runs.lanes, numbers, starts)
    ends = (
        flow_ends(runs.lanes, numbers, starts, coarse, max_steps),
        flow_ends(runs.lanes, numbers, starts, fine, max_steps),
    )
    return labelled(runs, axes, starts, ends, tol)[0]


def _checked(tolerances: Any) -> tuple[float, float]:
    if not isinstance(tolerances, (tuple, list)) or len(tolerances) != 2:
        raise TypeError(f"tolerances: expected two numbers, got {tolerances!r}")
    coarse, fine = (float(checks.positive_scalar("tolerances", t)) for t in tolerances)
    if coarse <= fine:
        raise ValueError(f"tolerances: expected the coarser first, got {tolerances!r}")
    return coarse, fine


def labelled(
    runs: Runs,
    axes: StartAxes,
    starts: tuple[PyTree, np.ndarray],
    ends: tuple[FlowEnds, FlowEnds],
    tol: float,
) -> tuple[FlowLabels, np.ndarray]:
    """Return the labels of the flow that ended there, and those of the runs."""
    numbers = first_numbers(runs.shape, axes)
    of_runs, (coarse, fine), attractors = joint_map(runs, numbers.ravel(), ends, tol)
    leaves = (ends[0].status == Status.DIVERGED) & (ends[1].status == Status.DIVERGED)
    known = (coarse == fine) & ((fine >= 0) | leaves)
    dims = tuple(runs.dims[dim] for dim in axes.starts)
    flow = FlowLabels(
        labels=np.where(known, fine, -1).astype(np.int32).reshape(numbers.shape),
        unresolved=~known.reshape(numbers.shape),
        attractors=attractors,
        starts=starts,
        ends=ends,
        dims=dims,
        coords=coords_of(runs, dims),
    )
    return flow, of_runs


def coords_of(runs: Runs, dims: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the coordinates along these dimensions, by name."""
    axes = runs.lanes.axes.values()
    return {n: values for a in axes for n, (dim, values) in a.coords.items() if dim in dims}


def dim_of(runs: Runs, coordinate: str) -> str:
    """Return the dimension that a coordinate of the runs lies along."""
    axes = runs.lanes.axes.values()
    return next(a.coords[coordinate][0] for a in axes if coordinate in a.coords)
