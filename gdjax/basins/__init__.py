"""Where the starts go: attractors, labels and their measures."""

from gdjax.basins.edge import Edge as Edge
from gdjax.basins.edge import EdgeStatus as EdgeStatus
from gdjax.basins.edge import edge as edge
from gdjax.basins.escape_radius import EscapeRadius as EscapeRadius
from gdjax.basins.escape_radius import escape_radius as escape_radius
from gdjax.basins.landscape_graph import LandscapeGraph as LandscapeGraph
from gdjax.basins.landscape_graph import Saddles as Saddles
from gdjax.basins.landscape_graph import landscape_graph as landscape_graph
from gdjax.basins.map_basins import Attractors as Attractors
from gdjax.basins.map_basins import Basins as Basins
from gdjax.basins.map_basins import map_basins as map_basins
from gdjax.basins.measures import BasinEntropy as BasinEntropy
from gdjax.basins.measures import Exponent as Exponent
from gdjax.basins.measures import Fractions as Fractions
from gdjax.basins.measures import PowerLaw as PowerLaw
from gdjax.basins.measures import TippingMatrix as TippingMatrix
from gdjax.basins.measures import Wada as Wada
from gdjax.basins.measures import basin_entropy as basin_entropy
from gdjax.basins.measures import boundary_dimension as boundary_dimension
from gdjax.basins.measures import fractions as fractions
from gdjax.basins.measures import tipping_matrix as tipping_matrix
from gdjax.basins.measures import uncertainty_exponent as uncertainty_exponent
from gdjax.basins.measures import wada as wada
