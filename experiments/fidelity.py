"""Which minimum a descent finds is that of the gradient flow only while its steps are short.

Claim: as the learning rate goes to 0, the basins of gradient descent become those of the gradient
flow w' = −∇L, and optimizers that are not its Euler method have other basins.
Source: D. Asenjo, J. D. Stevenson, D. J. Wales and D. Frenkel, Visualizing basins of attraction for
different minimization algorithms, J. Phys. Chem. B 117, 2013; P. Suryadevara, M. Casiulis and
S. Martiniani, The basins of attraction of soft sphere packings are not fractal, 2024.

What is known exactly: on w⁴/4 − w²/2 gradient descent, w → w (1 + η − ηw²), with η < 1 stays in the
well of its start as far as |w| < √(1 + 1/η); a step from beyond crosses to the other one, and ends
within that range or beyond it again, at the borders that this cubic gives. On the functions of
Himmelblau and of Müller and Brown the share at the smallest rate is 1 but for the error of Euler's
method, which is of the first order in the rate. The other shares are measured, not asserted.
"""

from functools import partial

import jax
import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure
from gdjax.basins import Fidelity

SIDE = 40
OPTIMIZERS = {
    "gradient descent": optax.sgd,
    "momentum 0.9": partial(optax.sgd, momentum=0.9),
    "Adam": optax.adam,
    "L-BFGS": partial(optax.lbfgs, memory_size=5, linesearch=None),
}
RATES = {
    "himmelblau": {
        "gradient descent": np.geomspace(1e-4, 5e-2, 12),
        "momentum 0.9": np.geomspace(1e-5, 2e-2, 12),
        "Adam": np.geomspace(1e-3, 1.0, 12),
        "L-BFGS": np.geomspace(1e-3, 1.0, 12),
    },
    "muller_brown": {
        "gradient descent": np.geomspace(1e-5, 1e-3, 12),
        "momentum 0.9": np.geomspace(1e-6, 5e-4, 12),
        "Adam": np.geomspace(1e-3, 0.3, 12),
        "L-BFGS": np.geomspace(1e-3, 1.0, 12),
    },
}
TITLES = {"himmelblau": "Himmelblau's function", "muller_brown": "Müller and Brown's potential"}
BORDER = 0.005  # of the starts: as many may lie as near to a border as the smallest rate moves it
WELL_RATES = [0.1, 0.3, 0.5, 0.7, 0.9]
FARTHEST = 1.75  # start in the double well: beyond √(1 + 2/η) it diverges
STOP = gdjax.stop.gradient_below(1e-6)


def descents(name: str, optimizer: str) -> gdjax.Runs:
    """Return the runs of one optimizer from a grid of starts, at each of its rates."""
    landscape, build = gdjax.landscapes.get(name), OPTIMIZERS[optimizer]

    def lane(start, learning_rate):
        optimizer = build(learning_rate)
        return gdjax.Descent(landscape, start, optimizer, stop=STOP, max_steps=100_000)

    x, y = ((low, high, SIDE) for low, high in landscape.domain)
    return gdjax.sweep(lane, start=gdjax.grid(x=x, y=y), learning_rate=RATES[name][optimizer])


def of_well() -> Fidelity:
    def lane(start, learning_rate):
        return gdjax.Descent(lambda w: w**4 / 4 - w**2 / 2, start["w"], optax.sgd(learning_rate))

    start = gdjax.grid(w=(-FARTHEST, FARTHEST, 400))
    return gdjax.basins.fidelity(gdjax.sweep(lane, start=start, learning_rate=WELL_RATES))


def share_in_well(starts: np.ndarray, rate: float) -> float:
    """Return the share of starts whose descent crosses an even number of times, by the borders."""
    borders = [(1 + 1 / rate) ** 0.5]
    while borders[-1] < FARTHEST:  # from the next one a step leads to minus the last
        borders.append(np.roots([rate, 0, -1 - rate, -borders[-1]]).real.max())
    return float(np.mean(np.searchsorted(borders, np.abs(starts)) % 2 == 0))


def measure() -> list[Measured]:
    well = of_well()
    starts = well.flow.coords["w"]
    measured = [
        Measured(f"double well, share at rate {rate}", share, share_in_well(starts, rate), 0.0)
        for rate, share in zip(WELL_RATES, well.agreement.share)
    ]
    for name in RATES:
        with jax.enable_x64(True):
            found = gdjax.basins.fidelity(descents(name, "gradient descent"))
        minima = len(gdjax.landscapes.get(name).minima)
        share = found.agreement.share[0]
        measured += [
            Measured(f"{name}, minima of the flow", len(found.flow.attractors.loss), minima, 0.0),
            Measured(f"{name}, unresolved starts", np.mean(found.flow.unresolved), 0.0, BORDER),
            Measured(f"{name}, share at the smallest rate", share, 1.0, BORDER),
        ]
    return measured


def draw() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9), layout="compressed")
    rows = figure.subplots(2, 3)
    for name, (shares, matrix, phases) in zip(RATES, rows):
        flow, found = None, {}
        with jax.enable_x64(True):
            for optimizer in OPTIMIZERS:
                found[optimizer] = gdjax.basins.fidelity(descents(name, optimizer), flow)
                flow = flow or found[optimizer].flow  # integrated once
            basins = gdjax.map_basins(along_the_diagonal(name))
        gdjax.plot.fidelity(found, ax=shares)
        shares.legend(fontsize="small", loc="lower left")
        shares.set_title(TITLES[name])
        last = found["L-BFGS"].agreement
        sides = ("gradient flow", "L-BFGS, rate 1")
        gdjax.plot.confusion(last._replace(counts=last.counts[-1]), None, sides, ax=matrix)
        gdjax.plot.basin_map(basins, ax=phases)
        phases.set_title("gradient descent from the diagonal")
    write_figure(rows[0, 0], "fidelity")


def along_the_diagonal(name: str) -> gdjax.Runs:
    """Return gradient descents from starts along the diagonal, at many rates."""
    landscape = gdjax.landscapes.get(name)
    (x, x_high), (y, y_high) = landscape.domain

    def lane(diagonal, learning_rate):
        start = {"x": x + (x_high - x) * diagonal, "y": y + (y_high - y) * diagonal}
        optimizer = optax.sgd(learning_rate)
        return gdjax.Descent(landscape, start, optimizer, stop=STOP, max_steps=100_000)

    rates = RATES[name]["gradient descent"]
    rates = np.geomspace(rates[0] * 10, rates[-1], 150)
    return gdjax.sweep(lane, diagonal=np.linspace(0, 1, 200), learning_rate=rates)
