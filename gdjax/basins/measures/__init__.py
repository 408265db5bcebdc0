"""Measures of a map of basins: plain functions of integer label arrays of any dimension.

A label of -1 is a start that reached no attractor.
"""

from gdjax.basins.measures.dimension import boundary_dimension as boundary_dimension
from gdjax.basins.measures.entropy import BasinEntropy as BasinEntropy
from gdjax.basins.measures.entropy import basin_entropy as basin_entropy
from gdjax.basins.measures.fractions import Fractions as Fractions
from gdjax.basins.measures.fractions import fractions as fractions
from gdjax.basins.measures.merging import Wada as Wada
from gdjax.basins.measures.merging import wada as wada
from gdjax.basins.measures.scaling import Exponent as Exponent
from gdjax.basins.measures.scaling import PowerLaw as PowerLaw
from gdjax.basins.measures.tipping import TippingMatrix as TippingMatrix
from gdjax.basins.measures.tipping import tipping_matrix as tipping_matrix
from gdjax.basins.measures.uncertainty import uncertainty_exponent as uncertainty_exponent
