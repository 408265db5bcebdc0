"""Pictures of runs and basins, drawn with matplotlib, which is imported when one is drawn."""

from gdjax.plot.basin_map import basin_map as basin_map
from gdjax.plot.heat_map import heat_map as heat_map
from gdjax.plot.loss_curves import loss_curves as loss_curves
from gdjax.plot.surface import surface as surface
