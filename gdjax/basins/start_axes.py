"""Which axes of a sweep the gradient flow sees: those that the start or the loss depend on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gdjax.descent.description import whole_arguments
from gdjax.lanewise import Value, traced
from gdjax.losses import value_and_ascent
from gdjax.sweeps.lanes import Lanes
from gdjax.trees import PyTree


@dataclass(frozen=True)
class StartAxes:
    """The dimensions of a sweep, parted."""

    starts: tuple[int, ...]  # dimensions that the start or the loss depend on
    others: tuple[int, ...]  # the others: those of the optimizer, of the budget, …


def start_axes(lanes: Lanes) -> StartAxes:
    """Return which dimensions of a sweep the start or the loss depend on; nothing is compiled."""

    def seen(values: PyTree, number: Any, key: Any) -> PyTree:
        d = lanes.lane.descent(values, number, key)
        return d.params, value_and_ascent(d.loss, d.params, whole_arguments(d))

    values = jax.tree.map(lambda leaf: leaf[0], lanes.values(np.array([0])))
    args = values, np.int32(0), lanes.key
    program, _ = traced(seen, *args)
    used = [a for o in program.operations for a in o.inputs] + list(program.outputs)
    numbers = {atom.number for atom in used if isinstance(atom, Value)}
    is_used = [v.number in numbers for v in program.inputs]
    of_values, of_number, _ = jax.tree.unflatten(jax.tree.structure(args), is_used)
    if of_number:  # each lane has a start, or a loss, of its own key
        return StartAxes(tuple(range(len(lanes.shape))), ())
    starts, first = [], 0
    for name, axis in lanes.axes.items():
        dims = range(first, first + len(axis.dims))
        if any(jax.tree.leaves(of_values[name])):
            starts += dims
        first += len(axis.dims)
    others = [dim for dim in range(first) if dim not in starts]
    return StartAxes(tuple(starts), tuple(others))


def first_numbers(shape: Sequence[int], axes: StartAxes) -> np.ndarray:
    """Return for each start the number of the first lane that has it."""
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    starts_first = numbers.transpose(*axes.starts, *axes.others)
    return starts_first.reshape(*(shape[dim] for dim in axes.starts), -1)[..., 0]
