"""The exact region of starts from which gradient descent converges, for a product of two weights.

Claim: from (u, v), with S = u² + v², gradient descent on (uv − y)²/2 stays bounded exactly where
the learning rate η is below 8 / (S + √(S² − 16 y (uv − y))). It converges exactly where, besides,
η|y| < 1; beyond, what is bounded oscillates or is chaotic, but for starts of measure zero.
Source: S. Liang and G. Montúfar, Gradient descent with large step sizes: chaos and fractal
convergence region, 2025, arXiv 2509.25351.

A grid meets sets of measure zero: critical points stay where they are at any rate, those for y = 0
among them that are the axes, and from a line of symmetry the saddle at the origin is reached. On
the border itself, where both sides of the condition are equal, a start is led to a cycle that
rounding keeps or leaves. Whether it is there can be told in whole numbers, as the coordinates are
fractions: (3, −3) for y = 1 and η = 0.2, say, goes to (−3, 3) and back.
"""

from functools import cache
from typing import Any

import jax
import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure

PRODUCTS = (-1, 0, 1, 2)  # y
PERCENT = (5, 20, 25, 45, 50, 90, 100, 110, 120)  # hundredths of the learning rate
RATES = tuple(percent / 100 for percent in PERCENT)
SIDE = 401
STEPS = 3000
FEW = 2e-5  # share of the starts that may be an exception
SMALL = 1e-4  # loss that is a minimum's
EQUAL = 1e-12  # difference of the two sides of the condition that is rounding


def loss(w, y):
    return (w["u"] * w["v"] - y) ** 2 / 2


def lane(y, learning_rate, u, v):
    # A chaotic orbit comes near a minimum in so many steps and starts, but not as near as this.
    stop = gdjax.stop.gradient_below(1e-12)
    start, optimizer = {"u": u, "v": v}, optax.sgd(learning_rate)
    return gdjax.Descent(loss, start, optimizer, args=(y,), stop=stop, max_steps=STEPS)


@cache
def ends(cells, side=SIDE):
    """Return the runs over y, the learning rate, u and v, both 12 / cells apart around 0.

    As many cells as starts a side make them the centres of the cells of [−6, 6]²; with one cell
    less they reach from edge to edge.
    """
    places = 12 * _numbers(side) / cells
    with jax.enable_x64(True):
        products = [float(y) for y in PRODUCTS]
        return gdjax.sweep(lane, y=products, learning_rate=list(RATES), u=places, v=places)


def _numbers(side):
    return np.arange(side) - side // 2


def excess(y, learning_rate, u, v):
    """Return the learning rate times S + √(...), less 8: below 0 in the region."""
    squares = u**2 + v**2
    return learning_rate * (squares + np.sqrt(squares**2 - 16 * y * (u * v - y))) - 8


def is_on_border(y, percent, cells, side):
    """Return where the excess is exactly 0, for u = 12 a / cells and v = 12 b / cells.

    With the root alone on one side and squared: 4 − η S + η² y (uv − y) = 0, where η S ≤ 8.
    """
    a, b = np.meshgrid(*[_numbers(side)] * 2, indexing="ij")
    squares, product = 144 * (a**2 + b**2), 144 * a * b - y * cells**2
    equal = 40_000 * cells**2 - 100 * percent * squares + percent**2 * y * product == 0
    return equal & (800 * cells**2 >= percent * squares)


def is_critical(y, u, v):
    return (u * v == y) | (u == 0) & (v == 0)


def measure(side=SIDE) -> list[Measured]:
    return [
        *_measured("cell centres", side, side),
        *_measured("from edge to edge", side - 1, side),
    ]


def _measured(grid, cells, side) -> list[Measured]:
    runs = ends(cells, side)
    u, v = np.meshgrid(runs.coords["u"], runs.coords["v"], indexing="ij")
    measured, border, equal = [], 0, 0
    for i, j in np.ndindex(len(PRODUCTS), len(RATES)):
        y, rate = PRODUCTS[i], RATES[j]
        at = f"{grid}, y = {y}, learning rate {rate:g}"
        on_border = is_on_border(y, PERCENT[j], cells, side)
        border += np.count_nonzero(on_border)
        equal += np.count_nonzero(np.abs(excess(y, rate, u, v)) < EQUAL)
        bounded = runs.status[i, j] != gdjax.Status.DIVERGED
        wrong = bounded != ((excess(y, rate, u, v) < 0) | is_critical(y, u, v))
        wrong &= ~on_border
        measured.append(Measured(f"mismatched pixels, {at}", float(wrong.sum()), 0.0, 0.0))
        converged, low = runs.status[i, j] == gdjax.Status.CONVERGED, runs.loss[i, j] < SMALL
        if rate * abs(y) < 1:
            # Near a minimum of a sharpness of nearly 2/η, the gradient takes more steps to vanish.
            share = np.mean(bounded & ~(converged | low) & ~on_border)
            name = "stays bounded without converging"
        else:
            name, share = "reaches a minimum", np.mean(converged & low)
        measured.append(Measured(f"share that {name}, {at}", float(share), 0.0, FEW))
    name = f"pixels on a border, of which rounding decides, {grid}"
    return [*measured, Measured(name, float(equal), float(border), 0.0)]


def draw() -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    runs = ends(SIDE)
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
        outside = excess(y, rate, *np.meshgrid(u, v))
        ax.contour(u, v, outside, [0.0], colors="black", linewidths=0.7)
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
