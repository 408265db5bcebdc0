"""Pictures of runs and basins, drawn with matplotlib, which is imported when one is drawn."""

from gdjax.plot.basin_map import basin_map as basin_map
from gdjax.plot.confusion import confusion as confusion
from gdjax.plot.cost import cost as cost
from gdjax.plot.disconnectivity import disconnectivity as disconnectivity
from gdjax.plot.fidelity import fidelity as fidelity
from gdjax.plot.heat_map import heat_map as heat_map
from gdjax.plot.loss_curves import loss_curves as loss_curves
from gdjax.plot.phase_diagram import phase_diagram as phase_diagram
from gdjax.plot.range_test import range_test as range_test
from gdjax.plot.refinement import refinement as refinement
from gdjax.plot.surface import surface as surface
from gdjax.plot.tracks import tracks as tracks
from gdjax.plot.zoom import zoom as zoom
