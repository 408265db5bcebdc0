"""The curvature of a loss: products with its Hessian, extreme eigenvalues, density and trace.

All of it is in the widest dtype among the parameters, and at least in float32; complex parameters
count as pairs of real ones. Each estimate comes with its error.
"""

from gdjax.curvature.batched import in_batches as in_batches
from gdjax.curvature.estimate import Estimate as Estimate
from gdjax.curvature.extremes import Extremes as Extremes
from gdjax.curvature.extremes import extremes as extremes
from gdjax.curvature.extremes import sharpness as sharpness
from gdjax.curvature.preconditioned import preconditioned_sharpness as preconditioned_sharpness
from gdjax.curvature.products import hessian as hessian
from gdjax.curvature.products import hvp as hvp
from gdjax.curvature.spectrum import SpectralDensity as SpectralDensity
from gdjax.curvature.spectrum import spectral_density as spectral_density
from gdjax.curvature.spectrum import trace as trace
