"""The edge of stability: training sharpens the loss until the learning rate is at its limit."""
import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure

X = np.linspace(-1, 1, 20)
WIDTH = 100


def loss(params, target):
    hidden = jnp.tanh(X[:, None] * params["w"] + params["b"])
    return jnp.mean((hidden @ params["v"] - target) ** 2) / 2


def start(key):
    scale = (2 / (1 + WIDTH)) ** 0.5
    w, v = scale * jax.random.normal(key, (2, WIDTH))
    return {"w": 1.9 * w, "b": jnp.zeros(WIDTH), "v": v}


def chebyshev(degree):
    return np.cos(degree * np.arccos(X))
