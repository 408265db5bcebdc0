"""The catapult: at a large learning rate the loss rises before it falls, into a flatter minimum.

Claim: for f = u·v/√n and the loss f²/2, gradient descent changes f and the curvature
λ = (|u|² + |v|²)/n by f' = f (1 − ηλ + η²f²/n) and λ' = λ + (ηf²/n)(ηλ − 4). Below ηλ = 2 the loss
falls monotonically, from 2 to 4 it spikes and converges where ηλ < 2, and beyond 4 it diverges.
Source: Lewkowycz, Bahri, Dyer, Sohl-Dickstein and Gur-Ari, The large learning rate phase of deep
learning: the catapult mechanism, 2020.

How high the spike is depends on ηλ and f/λ at the start alone. Here λ is 2, as normal weights have
it, f is such that the first height comes out, and the other two follow.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure

WIDTH = 512
OUTPUT = 1.065  # f at the start
STEPS = 3000
PEAKS = {
    2.1: (3.2, 0.05),
    2.5: (50.0, 0.5),
    3.0: (146.0, 0.5),
}  # in units of the first loss
CALM, CATAPULTS, BEYOND = [0.5, 1.0, 1.5, 1.9], [*PEAKS, 3.5, 3.95], [4.05, 4.5]


def output(params):
    return params["u"] @ params["v"] / WIDTH**0.5


def curvature(params):
    return (params["u"] @ params["u"] + params["v"] @ params["v"]) / WIDTH


def loss(params):
    return output(params) ** 2 / 2


def start():
    """Return |u|² = n, and v as long across u, with a part along u that gives the output."""
    u, v = jax.random.normal(jax.random.key(0), (2, WIDTH))
    v -= (u @ v) / (u @ u) * u
    u, v = (WIDTH**0.5 * x / jnp.linalg.norm(x) for x in (u, v))
    return {"u": u, "v": v + OUTPUT / WIDTH**0.5 * u}


def catapults(scaled_rates, steps=STEPS):
    params = start()
    record = gdjax.record.every(1, lambda s: (output(s.params), curvature(s.params)))

    def lane(scaled_rate):
        optimizer = optax.sgd(scaled_rate / curvature(params))
        return gdjax.Descent(loss, params, optimizer, stop=None, max_steps=steps, record=record)

    return gdjax.sweep(lane, scaled_rate=scaled_rates)


def errors_of_recursion(record, rates):
    """Return how far f and λ are from what the recursion makes of the step before."""
    f, curvature = (values[:, :-1] for values in record.values)
    kick = rates[:, None] * f**2 / WIDTH
    shrink = rates[:, None] * curvature
    expected = f * (1 - shrink + rates[:, None] * kick), curvature + kick * (shrink - 4)
    return [np.abs(e - v[:, 1:]) for e, v in zip(expected, record.values)]


def measure() -> list[Measured]:
    scaled = np.array([*CALM, *CATAPULTS, *BEYOND])
    bounded = scaled < 4
    with jax.enable_x64(True):
        runs = catapults(scaled)
    f, curvature = runs.record.values
    loss = f[bounded] ** 2 / 2
    rates = scaled / curvature[:, 0]
    errors = errors_of_recursion(jax.tree.map(lambda x: x[bounded], runs.record), rates[bounded])
    peaks = dict(zip(scaled[bounded].tolist(), loss.max(axis=1) / loss[:, 0]))
    below, last = scaled[bounded] < 2, (rates * curvature[:, -1])[bounded]
    diverged = runs.status[~bounded] == gdjax.Status.DIVERGED
    return [
        Measured("error of the recursion of f", errors[0].max(), 0.0, 4e-14),
        Measured("error of the recursion of λ", errors[1].max(), 0.0, 4e-14),
        Measured("largest rise of the loss, ηλ < 2", np.diff(loss[below]).max(), 0.0, 1e-30),
        *(
            Measured(f"peak of the loss, ηλ = {scaled}", peaks[scaled], expected, tolerance)
            for scaled, (expected, tolerance) in PEAKS.items()
        ),
        Measured("largest last loss, ηλ ≤ 3.95", loss[:, -1].max(), 0.0, 1e-30),
        Measured("runs that end with ηλ < 2, ηλ ≤ 3.95", np.mean(last < 2), 1.0, 0.0),
        Measured("runs that diverge, ηλ ≥ 4.05", np.mean(diverged), 1.0, 0.0),
    ]


def draw() -> None:
    from matplotlib.figure import Figure

    shown = np.array([1.0, 2.1, 2.5, 3.0, 3.95])
    with jax.enable_x64(True):
        f, curvature = catapults(shown, steps=60).record.values
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    scaled_curvature = shown[:, None] * curvature / curvature[:, :1]
    for scaled, losses, curvatures in zip(shown, f**2 / 2, scaled_curvature):
        above.plot(losses, label=f"{scaled:g}")
        below.plot(curvatures)
    above.set(yscale="log", ylim=(1e-12, 1e4), ylabel="loss", title="The catapult, f = u·v/√512")
    above.legend(title="ηλ at the start", frameon=False, fontsize="small")
    below.axhline(2, color="grey", linewidth=0.8)
    below.set(xlabel="step", ylabel="ηλ")
    write_figure(above, "catapult")
