"""What a sweep returns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, SupportsIndex

import jax
import numpy as np

from gdjax.batches import Batches
from gdjax.descent import Descent
from gdjax.descent.cost import NO_TRIALS, Cost, cost, searches_along_lines, with_trials
from gdjax.diagnosis import Diagnosis
from gdjax.sweeps.batch_sizes import sizes
from gdjax.sweeps.engine import Work
from gdjax.sweeps.lanes import Lanes
from gdjax.sweeps.searches import trials
from gdjax.trees import PyTree

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False)
class Runs:
    """The ends of all runs of a sweep: numpy arrays, whose leading shape is that of the sweep.

    Attributes:
      params: pytree with leaves [*shape, ...], the last finite parameters.
      loss: floating [*shape], the loss there.
      grad_norm: floating [*shape], the largest absolute entry of the gradient there.
      steps: int32 [*shape], the updates that led there.
      status: int8 [*shape], a `gdjax.Status`.
      record: what the descents recorded, leaves [*shape, ...].
      work: the updates that were made, `useful`, and `executed` with those of lanes that had ended
        and waited for others of their tile.
      lanes: the lane function with its axes.
      diagnosis: why each run ended where it did, arrays [*shape]; None unless it was asked for.
    """

    params: PyTree
    loss: np.ndarray
    grad_norm: np.ndarray
    steps: np.ndarray
    status: np.ndarray
    record: PyTree
    work: Work
    lanes: Lanes
    diagnosis: Diagnosis | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the dimensions, in the order of the axes."""
        return self.lanes.shape

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of the dimensions."""
        return self.lanes.dims

    @property
    def coords(self) -> Mapping[str, np.ndarray]:
        """The values along each dimension, and other coordinates of the axes, by name."""
        axes = self.lanes.axes.values()
        return {name: values for axis in axes for name, (_, values) in axis.coords.items()}

    @property
    def cost(self) -> Cost:
        """What each run cost, arrays [*shape].

        Operations and bytes are those of an update of the first lane, which is compiled for it: all
        lanes run the same program, which where the batch size is swept computes all `most` rows of
        every batch. Examples and gradients are each lane's own; those of searches along lines, as
        of `optax.lbfgs`, are counted by running the lanes once more.
        """
        first = self.lanes.descent(0)
        update = cost(first)
        plan = first.batches.plan if isinstance(first.batches, Batches) else None
        if plan is not None and plan.count is not None:
            plan = replace(plan, count=sizes(self.lanes))
            update = replace(update, examples=plan.examples_each)
        searched = trials(self.lanes, self.steps) if searches_along_lines(first) else NO_TRIALS
        return with_trials(update, plan, self.steps, searched)

    def descent(self, *index: int) -> Descent:
        """Return the descent of one lane, to be run or looked at alone.

        Args:
          *index: its place along each dimension.

        Returns:
          The descent; `gdjax.run` of it ends as the lane did, to the rounding of its arithmetic.

        Raises:
          TypeError: there are not as many indices as dimensions, or one is no integer.
          IndexError: an index is out of bounds.

        >>> import gdjax, optax
        >>> runs = gdjax.sweep(lambda start: gdjax.Descent(lambda w: w**2, start, optax.sgd(0.1)),
        ...                    start=[1.0, 2.0])
        >>> float(runs.descent(1).params)
        2.0
        """
        whole = all(isinstance(i, SupportsIndex) for i in index)
        if len(index) != len(self.shape) or not whole:
            raise TypeError(f"index: expected an integer for each of {self.dims}, got {index!r}")
        for dim, length, i in zip(self.dims, self.shape, index):
            if not -length <= i < length:
                raise IndexError(f"index: expected {dim} within {length}, got {i}")
        number = np.ravel_multi_index(np.mod(index, self.shape), self.shape)
        return self.lanes.descent(int(number))

    def to_xarray(self) -> "xarray.Dataset":
        """Return the runs as an `xarray.Dataset`, with the dimensions and coordinates by name.

        Returns:
          A dataset of `loss`, `grad_norm`, `steps`, `status`, and a variable for each leaf of
          `params` and `record`, named after its path; axes within a leaf get dimensions of their
          own.

        Raises:
          ModuleNotFoundError: xarray is not installed: `pip install 'gdjax[xarray]'`.
          ValueError: two of all these would have one name.
        """
        try:
            import xarray
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "to_xarray needs xarray: pip install 'gdjax[xarray]'", name="xarray"
            ) from error
        axes = self.lanes.axes.values()
        coords = {name: ([dim], v) for axis in axes for name, (dim, v) in axis.coords.items()}
        owners = dict.fromkeys(coords, "a coordinate of the sweep")
        variables = {}
        for field in ("params", "loss", "grad_norm", "steps", "status", "record"):
            for path, leaf in jax.tree_util.tree_leaves_with_path(getattr(self, field)):
                name = "_".join([field, *map(_label, path)])
                own = [f"{name}_dim_{i}" for i in range(leaf.ndim - len(self.shape))]
                variables[name] = ([*self.dims, *own], leaf)
                where = f"{field}{jax.tree_util.keystr(path)}"
                _claim(owners, name, where)
                for i, dim in enumerate(own):
                    _claim(owners, dim, f"dimension {i} of {where}")
        return xarray.Dataset(variables, coords)


def _claim(owners: dict[str, str], name: str, owner: str) -> None:
    if name in owners:
        raise ValueError(
            f"to_xarray: {name!r} would be the name of {owners[name]} and of {owner}; "
            "rename one of them"
        )
    owners[name] = owner


def _label(entry) -> str:
    return jax.tree_util.keystr((entry,), simple=True)
