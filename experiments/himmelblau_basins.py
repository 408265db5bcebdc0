"""The basins of Himmelblau's function under gradient descent, at two learning rates.

Claim: over the centres of 400 x 400 cells of [-6, 6]^2, gradient descent reaches the four minima in
known shares, and a larger learning rate changes them.
Source: D. M. Himmelblau, Applied Nonlinear Programming, 1972, for the function; the shares were
computed in float64 by an independent program.
"""

import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure

TOLERANCE = 1e-3
MINIMA = [(3.0, 2.0), (-2.805, 3.131), (-3.779, -3.283), (3.584, -1.848)]
SHARES = {0.001: [0.2496, 0.2583, 0.2433, 0.2489], 0.01: [0.2634, 0.2615, 0.2377, 0.2375]}


def measure() -> list[Measured]:
    runs = gdjax.sweep(
        lambda start, learning_rate: gdjax.Descent(
            gdjax.landscapes.himmelblau, start, optax.sgd(learning_rate)
        ),
        learning_rate=list(SHARES),
        start=gdjax.grid(x=(-6, 6, 400), y=(-6, 6, 400)),
    )
    basins = gdjax.map_basins(runs)
    found = np.stack([basins.attractors.params[name] for name in "xy"], axis=1)
    measured = []
    for labels, (rate, expected) in zip(basins.labels, SHARES.items()):
        for minimum, share in zip(MINIMA, expected):
            label = int(np.abs(found - minimum).max(axis=1).argmin())
            name = f"share of {minimum} at learning rate {rate}"
            measured.append(Measured(name, float(np.mean(labels == label)), share, TOLERANCE))
    return measured


def draw() -> None:
    runs = gdjax.sweep(
        lambda start: gdjax.Descent(gdjax.landscapes.himmelblau, start, optax.sgd(0.01)),
        start=gdjax.grid(x=(-6, 6, 400), y=(-6, 6, 400)),
    )
    axes = gdjax.plot.basin_map(gdjax.map_basins(runs))
    axes.set_title("Himmelblau's function, gradient descent, learning rate 0.01")
    write_figure(axes, "basins-himmelblau")
