"""Many runs at once, over named axes."""

from gdjax.sweeps.axes import grid as grid
from gdjax.sweeps.axes import paired as paired
from gdjax.sweeps.axes import sobol as sobol
from gdjax.sweeps.axes import uniform as uniform
from gdjax.sweeps.runs import Runs as Runs
from gdjax.sweeps.sweep import sweep as sweep
