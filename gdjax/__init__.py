"""gdjax: describe a descent, run one or millions of it compiled, and see where each one ended."""

from gdjax import basins, batches, landscapes, plot, record, reduce, stop
from gdjax.basins import Attractors, Basins, map_basins
from gdjax.descent import Descent, Result, State, Status, init, run, step
from gdjax.sweeps import Runs, grid, paired, sobol, sweep, uniform
from gdjax.update import gradient_step

__all__ = [
    "Attractors",
    "Basins",
    "Descent",
    "Result",
    "Runs",
    "State",
    "Status",
    "basins",
    "batches",
    "gradient_step",
    "grid",
    "init",
    "landscapes",
    "map_basins",
    "paired",
    "plot",
    "record",
    "reduce",
    "run",
    "sobol",
    "step",
    "stop",
    "sweep",
    "uniform",
]
