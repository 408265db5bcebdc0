"""The axes of a sweep: each keyword is one, and the product runs over them in the order given."""

from typing import Any

from gdjax.sweeps.axes.axis import Axis as Axis
from gdjax.sweeps.axes.grid import Grid
from gdjax.sweeps.axes.grid import grid as grid
from gdjax.sweeps.axes.samples import Samples
from gdjax.sweeps.axes.samples import sobol as sobol
from gdjax.sweeps.axes.samples import uniform as uniform
from gdjax.sweeps.axes.slice import Slice
from gdjax.sweeps.axes.values import Paired, values_axis
from gdjax.sweeps.axes.values import paired as paired

SPECS = (Grid, Samples, Paired, Slice)


def named_axes(given: dict[str, Any]) -> dict[str, Axis]:
    """Return the axes by keyword, else raise naming the one that is wrong.

    Raises:
      ValueError: two axes have a dimension or coordinate of one name.
    """
    axes = {
        name: spec.named(name) if isinstance(spec, SPECS) else values_axis(name, spec)
        for name, spec in given.items()
    }
    owners: dict[str, str] = {}
    for name, axis in axes.items():
        for coordinate in axis.coords:
            if coordinate in owners:
                raise ValueError(
                    f"{name}: its dimension or coordinate {coordinate!r} has the name of one of "
                    f"the axis {owners[coordinate]!r}; rename one of them"
                )
            owners[coordinate] = name
    return axes
