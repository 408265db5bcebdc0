"""The exact region of starts from which gradient descent converges, for a product of two weights.

Claim: from (u, v), with S = u² + v², gradient descent on (uv − y)²/2 stays bounded exactly where
the learning rate η is below 8 / (S + √(S² − 16 y (uv − y))). It converges exactly where, besides,
η|y| < 1; beyond, what is bounded oscillates or is chaotic, but for starts of measure zero.
Source: S. Liang and G. Montúfar, Gradient descent with large step sizes: chaos and fractal
convergence region, 2025, arXiv 2509.25351.

A grid meets sets of measure zero: critical points stay where they are at any rate, those for y = 0
among them that are the axes, and from a line of symmetry the saddle at the origin is reached.
"""

from functools import cache
from typing import Any

import jax
import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure

PRODUCTS = (-1.0, 0.0, 1.0, 2.0)  # y
RATES = (0.05, 0.2, 0.45, 0.5, 0.9, 1.1, 1.2)
SIDE = 401
STEPS = 3000
FEW = 2e-5  # share of the starts that may be an exception
SMALL = 1e-4  # loss that is a minimum's


def loss(w, y):
    return (w["u"] * w["v"] - y) ** 2 / 2


def lane(y, learning_rate, start):
    # A chaotic orbit comes near a minimum in so many steps and starts, but not as near as this.
    stop = gdjax.stop.gradient_below(1e-12)
    optimizer = optax.sgd(learning_rate)
    return gdjax.Descent(loss, start, optimizer, args=(y,), stop=stop, max_steps=STEPS)


@cache
def ends(side=SIDE):
    """Return the runs over y, the learning rate, u and v."""
    start = gdjax.grid(u=(-6, 6, side), v=(-6, 6, side))
    with jax.enable_x64(True):
        return gdjax.sweep(lane, y=list(PRODUCTS), learning_rate=list(RATES), start=start)


def is_in_region(y, learning_rate, u, v):
    squares = u**2 + v**2
    return learning_rate * (squares + np.sqrt(squares**2 - 16 * y * (u * v - y))) < 8


def is_critical(y, u, v):
    return (u * v == y) | (u == 0) & (v == 0)


def measure(side=SIDE) -> list[Measured]:
    runs = ends(side)
    u, v = np.meshgrid(runs.coords["u"], runs.coords["v"], indexing="ij")
    converged = runs.status == gdjax.Status.CONVERGED
    measured = []
    for i, j in np.ndindex(len(PRODUCTS), len(RATES)):
        y, rate = PRODUCTS[i], RATES[j]
        at = f"y = {y:g}, learning rate {rate:g}"
        bounded = runs.status[i, j] != gdjax.Status.DIVERGED
        wrong = bounded != (is_in_region(y, rate, u, v) | is_critical(y, u, v))
        measured.append(Measured(f"mismatched pixels, {at}", float(wrong.sum()), 0.0, 0.0))
        low = runs.loss[i, j] < SMALL
        if rate * abs(y) < 1:
            # At y = 0 the origin is degenerate: it is neared as a power of the steps.
            unsettled = bounded & ~(low if y == 0 else converged[i, j])
            name, share = "stays bounded without converging", np.mean(unsettled)
        else:
            name, share = "reaches a minimum", np.mean(converged[i, j] & low)
        measured.append(Measured(f"share that {name}, {at}", float(share), 0.0, FEW))
    return measured


def draw() -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    runs = ends()
    u, v = runs.coords["u"], runs.coords["v"]
    kinds = {"converges": "#4477AA", "bounded": "#EECC66", "diverges": "#EEEEEE"}
    kind = np.where(runs.status == gdjax.Status.CONVERGED, 0, 1)
    kind[(np.array(PRODUCTS) == 0)[:, None, None, None] & (runs.loss < SMALL)] = 0
    kind[runs.status == gdjax.Status.DIVERGED] = 2
    shown = [RATES.index(rate) for rate in (0.2, 0.45, 0.9, 1.2)]
    figure = Figure(figsize=(9, 9.5), layout="constrained")
    panels = figure.subplots(len(PRODUCTS), len(shown), sharex=True, sharey=True)
    for (row, column), ax in np.ndenumerate(panels):
        y, rate = PRODUCTS[row], RATES[shown[column]]
        colours = ListedColormap(list(kinds.values()))
        cells = kind[row, shown[column]].T
        ax.imshow(cells, colours, vmin=0, vmax=2, origin="lower", extent=(-6, 6, -6, 6))
        region = is_in_region(y, rate, *np.meshgrid(u, v))
        ax.contour(u, v, region, [0.5], colors="black", linewidths=0.7)
        ax.set_title(f"y = {y:g}, η = {rate:g}", fontsize="medium")
    for ax in panels[-1]:
        ax.set_xlabel("u")
    for ax in panels[:, 0]:
        ax.set_ylabel("v")
    handles: list[Any] = [Patch(color=colour, label=name) for name, colour in kinds.items()]
    handles.append(Line2D([], [], color="black", label="the theorem"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle("Gradient descent on (uv − y)²/2")
    write_figure(panels[0, 0], "convergence-region")
