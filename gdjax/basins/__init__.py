"""Where the starts go: attractors, labels and their measures."""

from gdjax.basins.attractors import Attractors as Attractors
from gdjax.basins.attractors import Basins as Basins
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
from gdjax.basins.refinement import Refinement as Refinement
from gdjax.basins.refinement import refine as refine
from gdjax.basins.slices import slice_line as slice_line
from gdjax.basins.slices import slice_plane as slice_plane
from gdjax.basins.tracks import Tracks as Tracks
from gdjax.basins.tracks import tracks as tracks
