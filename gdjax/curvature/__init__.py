"""The curvature of a loss: products with its Hessian, extreme eigenvalues, density and trace.

All of it is in the widest dtype among the parameters, and at least in float32; complex parameters
count as pairs of real ones. Each estimate comes with its error.
"""

from gdjax.curvature.estimate import Estimate as Estimate
from gdjax.curvature.extremes import Extremes as Extremes
from gdjax.curvature.extremes import extremes as extremes
from gdjax.curvature.extremes import sharpness as sharpness
from gdjax.curvature.products import hessian as hessian
from gdjax.curvature.products import hvp as hvp
