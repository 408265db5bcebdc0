"""Where the starts go: attractors, labels and their measures."""

from gdjax.basins.agreement import Agreement as Agreement
from gdjax.basins.agreement import agreement as agreement
from gdjax.basins.fidelity import Fidelity as Fidelity
from gdjax.basins.fidelity import fidelity as fidelity
from gdjax.basins.flow_labels import FlowLabels as FlowLabels
from gdjax.basins.flow_labels import flow_labels as flow_labels
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
