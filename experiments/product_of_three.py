"""Which minimum of (xyz − 1)²/4: a matter of signs at small steps, fractal at large ones.

Claim: the solutions are a surface of four parts, one for each choice of signs whose product is
positive. The sharpness there, (1/x² + 1/y² + 1/z²)/2, is 3/2 at least, so that from random starts
gradient descent may converge where the learning rate is below 4/3, and never beyond; where it
converges, the sharpness is at most 2/η. At small rates each part draws a quarter of the starts.
Source: computed in float64 by an independent program; for the fractal at large steps, S. Liang and
G. Montúfar, Gradient descent with large step sizes: chaos and fractal convergence region, 2025,
arXiv 2509.25351.
"""

from functools import cache

import jax
import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure

RATES = (0.3, 1.0, 1.3, 1.32, 1.34)
CONVERGING = {1.32: (0.75, 0.01), 1.34: (0.0, 0.0)}
STARTS = 100_000
STEPS = 20_000
SLACK = 1e-6  # of a sharpness, for how far from the solution a run has stopped
SIGNS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def loss(w):
    return (w["x"] * w["y"] * w["z"] - 1) ** 2 / 4


def lane(learning_rate, start):
    stop = gdjax.stop.gradient_below(1e-12)
    optimizer = optax.sgd(learning_rate)
    return gdjax.Descent(loss, start, optimizer, stop=stop, max_steps=STEPS)


@cache
def ends(starts=STARTS):
    """Return the runs over the learning rate and random starts."""
    box = dict.fromkeys("xyz", (-2.0, 2.0))
    with jax.enable_x64(True):
        start = gdjax.uniform(jax.random.key(0), box, starts)
        return gdjax.sweep(lane, learning_rate=list(RATES), start=start)


def sharpness(params):
    return sum(params[name] ** -2 for name in "xyz") / 2


def part(params):
    """Return the number of the part of the surface, for points [...] on it."""
    signs = np.stack([np.sign(params[name]) for name in "xyz"], axis=-1)
    return np.argmax(signs @ SIGNS.T, axis=-1)


def measure(starts=STARTS) -> list[Measured]:
    runs = ends(starts)
    measured = []
    for i, rate in enumerate(RATES):
        converged = runs.status[i] == gdjax.Status.CONVERGED
        if rate in CONVERGING:
            name = f"share that converges, learning rate {rate}"
            measured.append(Measured(name, float(converged.mean()), *CONVERGING[rate]))
        if not converged.any():
            continue
        found = {name: runs.params[name][i][converged] for name in "xyz"}
        sharp = sharpness(found)
        outside = (sharp < 1.5 - SLACK) | (sharp > 2 / rate + SLACK)
        name = f"runs that end outside of [3/2, 2/η], learning rate {rate}"
        measured.append(Measured(name, float(np.sum(outside)), 0.0, 0.0))
    small = runs.status[0] == gdjax.Status.CONVERGED
    found = part({name: runs.params[name][0][small] for name in "xyz"})
    for number, name in enumerate(("+++", "+--", "-+-", "--+")):
        share = float(np.mean(found == number))
        measured.append(Measured(f"share of {name}, learning rate 0.3", share, 0.25, 0.01))
    return measured


def draw() -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    def slice_lane(learning_rate, start):
        return lane(learning_rate, {**start, "z": np.float64(0.5)})

    rates, box = [0.3, 1.0, 1.3], {"x": (-2, 2, 600), "y": (-2, 2, 600)}
    with jax.enable_x64(True):
        runs = gdjax.sweep(slice_lane, learning_rate=rates, start=gdjax.grid(**box))
    parts = np.where(runs.status == gdjax.Status.CONVERGED, part(runs.params), len(SIGNS))
    colours = ["#4477AA", "#EE6677", "#228833", "#CCBB44", "#DDDDDD"]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = figure.subplots(1, len(rates), sharey=True)
    for ax, rate, cells in zip(panels, rates, parts):
        extent = (-2, 2, -2, 2)
        ax.imshow(cells.T, ListedColormap(colours), vmin=0, vmax=4, origin="lower", extent=extent)
        ax.set(title=f"learning rate {rate:g}", xlabel="x")
    panels[0].set_ylabel("y")
    names = ("+ + +", "+ − −", "− + −", "− − +", "does not converge")
    handles = [Patch(color=colour, label=name) for name, colour in zip(names, colours)]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle("(xyz − 1)²/4 from z = ½: the signs of x, y and z where it ends")
    write_figure(panels[0], "product-of-three")
