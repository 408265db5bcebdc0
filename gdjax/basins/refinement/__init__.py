"""Maps that are computed only along their borders."""

from gdjax.basins.refinement.audit import Missed as Missed
from gdjax.basins.refinement.refine import refine as refine
from gdjax.basins.refinement.result import Leaves as Leaves
from gdjax.basins.refinement.result import Refinement as Refinement
