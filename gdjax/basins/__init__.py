"""Where the starts go: attractors, labels and their measures."""

from gdjax.basins.fractions import Fractions as Fractions
from gdjax.basins.fractions import fractions as fractions
from gdjax.basins.map_basins import Attractors as Attractors
from gdjax.basins.map_basins import Basins as Basins
from gdjax.basins.map_basins import map_basins as map_basins
