"""How far a finite learning rate distorts the map: which starts end where the flow ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdjax import checks
from gdjax.basins.agreement import Agreement, agreements
from gdjax.basins.flow import starts_of
from gdjax.basins.flow_labels import FlowLabels, coords_of, dim_of, flow_labels, labelled
from gdjax.basins.start_axes import first_numbers, start_axes
from gdjax.sweeps import Runs
from gdjax.trees import PyTree, coarsest_eps, real_columns


@dataclass(frozen=True, eq=False)
class Fidelity:
    """How faithfully runs follow the gradient flow, for each value of the axes beside the starts.

    Attributes:
      agreement: arrays over `dims`: the share of starts that end where the flow ends, its 95%
        interval, and the confusion matrix, flow × runs. Only starts of which it is known at which
        attractor the flow ends are compared; a run that ends at none is not right.
      right: bool, the starts' dimensions before those of `dims`: whether it ends where the flow
        ends; False where that is unknown.
      faithful_up_to: floating, as `right` without the dimension of the rate: the largest rate that
        was swept such that with it, and with all smaller ones, the start ends where the flow ends.
        0 where not even the smallest does, NaN where the flow's end is unknown.
      faithful_at: likewise the largest rate at all with which it does: above `faithful_up_to` where
        it went astray in between.
      flow: where the flow ends.
      dims: the dimensions that the start does not depend on.
      coords: the coordinates along them, by name.
      rate: the name of the coordinate that is the rate; None where there is none, and
        `faithful_up_to` and `faithful_at` are None.
    """

    agreement: Agreement
    right: np.ndarray
    faithful_up_to: np.ndarray | None
    faithful_at: np.ndarray | None
    flow: FlowLabels
    dims: tuple[str, ...]
    coords: Mapping[str, np.ndarray]
    rate: str | None


def fidelity(
    runs: Runs, flow: FlowLabels | None = None, *, rate: str | None = None, tol: float = 1e-3
) -> Fidelity:
    """Return the share of starts that end where the gradient flow ends, for each learning rate.

    The true basins are those of ẇ = −∇L: gradient descent is its Euler method, and other optimizers
    follow it as little as their steps are long. To compare optimizers, integrate once, and hand
    what `flow_labels` returned for one sweep to the fidelity of all that have the same starts and
    the same loss.

    Args:
      runs: from `gdjax.sweep`; the axes that the start and the loss do not depend on are those
        over which the fidelity is told: learning rate, momentum, ….
      flow: from `flow_labels`, of a sweep from the same starts of the same loss; integrated here
        if left out.
      rate: the name of the coordinate of which the largest faithful value is told; left out, it is
        "learning_rate" if there is one, or else the only coordinate beside the starts.
      tol: as in `map_basins`.

    Returns:
      Shares with intervals and confusion matrices, and each start's largest faithful rate.

    Raises:
      ModuleNotFoundError: diffrax is not installed: `pip install 'gdjax[flow]'`.
      TypeError: `runs` is not from `gdjax.sweep`, or `flow` not from `flow_labels`.
      ValueError: the flow has other starts than the runs, or `rate` is no real coordinate beside
        them.

    References:
      Asenjo, Stevenson, Wales, Frenkel, Visualizing basins of attraction for different
      minimization algorithms, J. Phys. Chem. B 117, 2013. Suryadevara, Casiulis, Martiniani, The
      basins of attraction of soft sphere packings are not fractal, arXiv 2409.12113, 2024.

    >>> import gdjax, optax
    >>> runs = gdjax.sweep(
    ...     lambda start, learning_rate: gdjax.Descent(
    ...         lambda w: w**4 / 4 - w**2 / 2, start, optax.sgd(learning_rate)),
    ...     start=[-0.5, 0.5, 2.0], learning_rate=[0.1, 0.3, 0.4])
    >>> found = gdjax.basins.fidelity(runs)
    >>> found.agreement.share.round(3).tolist(), found.faithful_up_to.round(1).tolist()
    ([1.0, 1.0, 0.667], [0.4, 0.4, 0.3])
    """
    if not isinstance(runs, Runs):
        raise TypeError(f"runs: expected what gdjax.sweep returns, got {runs!r}")
    checks.positive_scalar("tol", tol)
    axes = start_axes(runs.lanes)
    dims = tuple(runs.dims[dim] for dim in axes.others)
    coords = coords_of(runs, dims)
    rate = _rate(rate, coords, dims)
    if flow is None:
        flow = flow_labels(runs, tol=tol)
    else:
        _check_flow(flow, starts_of(runs.lanes, first_numbers(runs.shape, axes).ravel()))
    flow, labels = labelled(runs, axes, flow.starts, flow.ends, tol)
    labels = labels.transpose(*axes.starts, *axes.others)
    own = flow.labels.reshape(flow.labels.shape + (1,) * len(dims))
    right, known = (labels == own) & (own >= 0), flow.labels >= 0
    others = labels.shape[labels.ndim - len(dims) :]
    found = agreements(flow.labels[known], labels[known].reshape(-1, *others))
    up_to = at = None
    if rate is not None:
        along = flow.labels.ndim + dims.index(dim_of(runs, rate))
        up_to, at = _largest(np.moveaxis(right, along, -1), np.asarray(coords[rate], float))
        unknown = ~known.reshape(known.shape + (1,) * (up_to.ndim - known.ndim))
        up_to, at = (np.where(unknown, np.nan, x) for x in (up_to, at))
    return Fidelity(found, right, up_to, at, flow, dims, coords, rate)


def _rate(rate: str | None, coords: Mapping[str, np.ndarray], dims: tuple[str, ...]) -> str | None:
    """Return the name of the coordinate that is the rate, None if there is none."""
    real = [n for n, values in coords.items() if np.issubdtype(values.dtype, np.floating)]
    if rate is None:
        own = [name for name in real if name in dims]
        return "learning_rate" if "learning_rate" in real else own[0] if len(own) == 1 else None
    if rate not in real:
        raise ValueError(f"rate: expected one of the real coordinates {real}, got {rate!r}")
    return rate


def _check_flow(flow: Any, starts: tuple[PyTree, np.ndarray]) -> None:
    if not isinstance(flow, FlowLabels):
        raise TypeError(f"flow: expected what gdjax.basins.flow_labels returns, got {flow!r}")
    columns, own = real_columns(starts[0]), real_columns(flow.starts[0])
    if columns.shape != own.shape:
        raise ValueError(
            f"flow: expected the starts of the runs, {len(columns)} of {columns.shape[1]} numbers, "
            f"got {len(own)} of {own.shape[1]}"
        )
    eps = max(map(coarsest_eps, (starts[0], flow.starts[0])))
    for what, ours, theirs in (("starts", columns, own), ("losses", starts[1], flow.starts[1])):
        ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
        apart = np.abs(ours - theirs)[np.isfinite(ours) & np.isfinite(theirs)].max(initial=0.0)
        if apart > eps**0.5 * np.abs(ours[np.isfinite(ours)]).max(initial=0.0):
            raise ValueError(
                f"flow: expected one from the starts of the runs and of their loss, but the {what} "
                f"differ by up to {apart:.3g}"
            )


def _largest(faithful: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest rate up to which all are faithful, and the largest faithful at all.

    >>> up_to, at = _largest(np.array([[True, False, True]]), np.array([1.0, 2.0, 3.0]))
    >>> up_to.tolist(), at.tolist()
    ([1.0], [3.0])
    """
    order = np.argsort(rates)
    faithful, rates = faithful[..., order], np.append(0.0, rates[order])
    unbroken = np.logical_and.accumulate(faithful, axis=-1).sum(axis=-1)
    last = np.where(faithful, np.arange(1, len(rates)), 0).max(axis=-1)
    return rates[unbroken], rates[last]
