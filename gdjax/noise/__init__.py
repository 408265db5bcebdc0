"""The noise of mini-batches: how large it is, and where it holds the loss up."""

from gdjax.noise.gradient_noise import GradientNoise as GradientNoise
from gdjax.noise.gradient_noise import gradient_noise as gradient_noise
from gdjax.noise.noise_floor import NoiseFloor as NoiseFloor
from gdjax.noise.noise_floor import noise_floor as noise_floor
