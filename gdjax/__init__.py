"""gdjax: describe a descent, run one or millions of it compiled, and see where each one ended."""

from typing import TYPE_CHECKING

from gdjax import batches, record, stop
from gdjax.descent import Descent, Result, State, Status, init, run, step
from gdjax.lazily import lazily
from gdjax.update import gradient_step

if TYPE_CHECKING:
    from gdjax import basins, curvature, landscapes, plot, reduce, schedules, transforms
    from gdjax.advice import Advice, RangeTest, RateVerdict, advise, lr_range_test
    from gdjax.basins import Attractors, Basins, map_basins
    from gdjax.descent.cost import Cost, cost
    from gdjax.diagnosis import Diagnosis, Verdict, diagnose
    from gdjax.noise import GradientNoise, NoiseFloor, gradient_noise, noise_floor
    from gdjax.sweeps import Runs, grid, paired, sobol, sweep, uniform

__all__ = [
    "Advice",
    "Attractors",
    "Basins",
    "Cost",
    "Descent",
    "Diagnosis",
    "GradientNoise",
    "NoiseFloor",
    "RangeTest",
    "RateVerdict",
    "Result",
    "Runs",
    "State",
    "Status",
    "Verdict",
    "advise",
    "basins",
    "batches",
    "cost",
    "curvature",
    "diagnose",
    "gradient_noise",
    "gradient_step",
    "grid",
    "init",
    "landscapes",
    "lr_range_test",
    "map_basins",
    "noise_floor",
    "paired",
    "plot",
    "record",
    "reduce",
    "run",
    "schedules",
    "sobol",
    "step",
    "stop",
    "sweep",
    "transforms",
    "uniform",
]

# What one run does not need is imported where it is first used: it would take longer than optax.
_ROOMS = {
    **dict.fromkeys(("Advice", "RangeTest", "RateVerdict", "advise", "lr_range_test"), "advice"),
    **dict.fromkeys(("Attractors", "Basins", "map_basins"), "basins"),
    **dict.fromkeys(("Cost", "cost"), "descent.cost"),
    **dict.fromkeys(("Diagnosis", "Verdict", "diagnose"), "diagnosis"),
    **dict.fromkeys(("GradientNoise", "NoiseFloor", "gradient_noise", "noise_floor"), "noise"),
    **dict.fromkeys(("Runs", "grid", "paired", "sobol", "sweep", "uniform"), "sweeps"),
}

__getattr__, __dir__ = lazily(__name__, _ROOMS, __all__)
