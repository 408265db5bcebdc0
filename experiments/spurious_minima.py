"""Spurious minima of a two-layer ReLU network that could represent its teacher.

Claim: of k student neurons with k teacher neurons, over normal inputs, gradient descent from
Xavier's initialisation ends in a minimum that is not global in a share of the runs that grows with
k: none or nearly none up to 6, a third at 10, and in few different losses.
Source: I. Safran and O. Shamir, Spurious local minima are common in two-layer ReLU neural networks,
ICML 2018, with the authors' data; the losses and rates were computed in float64 by an independent
program.

The loss is not that of a sample but the expectation over inputs x ~ N(0, I), in closed form:
½ Σ f(wᵢ, wⱼ) − Σ f(wᵢ, vⱼ) + ½ Σ f(vᵢ, vⱼ), f(w, v) = |w||v| (sin θ + (π − θ) cos θ) / 2π.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import gdjax
from experiments.outcome import Measured, write_figure

BAD = {6: 3, 7: 55, 8: 126, 10: 346}  # of 1,000 runs
LOSSES = {6: [0.02508], 7: [0.02320], 8: [0.02151], 10: [0.01870, 0.03533]}
LEAST_BAD = 1e-3
INITS = 1000
STEPS = 200_000
TOLERANCE = 1e-9 / (2 * np.pi)  # of the gradient, which is 2π times as large at the source


def angles(w, v):
    """Return the angles between the unit vectors w [n, d] and v [m, d], exact also where small."""
    apart, along = (optax.safe_norm(w[:, None] + s * v[None], 0.0, axis=-1) for s in (-1, 1))
    return 2 * jnp.arctan2(apart, along)


def expected_products(w, v):
    """Return f of each pair of the vectors w [n, d] and v [m, d]."""
    long_w, long_v = (optax.safe_norm(x, 1e-300, axis=-1, keepdims=True) for x in (w, v))
    # The derivatives of f by the angle and of the angle by w cancel: it may be held.
    angle = lax.stop_gradient(angles(w / long_w, v / long_v))
    return (long_w * long_v.T * jnp.sin(angle) + (np.pi - angle) * (w @ v.T)) / (2 * np.pi)


def loss(w, v):
    return (
        jnp.sum(expected_products(w, w)) / 2
        - jnp.sum(expected_products(w, v))
        + jnp.sum(expected_products(v, v)) / 2
    )


def lane(start):
    stop = gdjax.stop.gradient_below(TOLERANCE, norm="l2")
    teacher = jnp.eye(len(start))
    return gdjax.Descent(loss, start, optax.sgd(0.1), args=(teacher,), stop=stop, max_steps=STEPS)


@cache
def ends(neurons, inits=INITS):
    with jax.enable_x64(True):
        starts = jax.random.normal(jax.random.key(neurons), (inits, neurons, neurons))
        return gdjax.sweep(lane, start=starts / neurons**0.5)


def measure(inits=INITS) -> list[Measured]:
    measured = []
    for neurons, bad in BAD.items():
        found = ends(neurons, inits).loss
        found = found[found >= LEAST_BAD]
        share, per_run = bad / 1000, found.size / inits
        tolerance = 3 * np.sqrt(share * (1 - share) * (1 / 1000 + 1 / inits))
        name = f"share of bad minima, {neurons} neurons"
        measured.append(Measured(name, per_run, share, float(tolerance)))
        for known in LOSSES[neurons]:
            nearest = found[np.abs(found - known).argmin()] if found.size else np.nan
            name = f"loss of a bad minimum, {neurons} neurons"
            measured.append(Measured(name, float(nearest), known, 1e-4))
        apart = np.abs(found[:, None] - LOSSES[neurons]).min(axis=1)
        name = f"share of the bad with another loss, {neurons} neurons"
        measured.append(Measured(name, float(np.sum(apart > 1e-4)) / inits, 0.0, 0.0))
    return measured


def draw() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    shares, losses = figure.subplots(1, 2)
    neurons = list(BAD)
    found = {n: ends(n).loss for n in neurons}
    bad = np.array([np.mean(found[n] >= LEAST_BAD) for n in neurons])
    published = np.array(list(BAD.values())) / 1000
    error = 3 * np.sqrt(published * (1 - published) * 2 / INITS)
    shares.errorbar(neurons, published, error, fmt="_", color="black", label="published")
    shares.plot(neurons, bad, "o", color="tab:blue", label="measured")
    shares.set(xlabel="neurons", ylabel="share of bad minima", xticks=neurons)
    shares.legend(frameon=False)
    for n in neurons:
        losses.plot(np.sort(found[n]), (np.arange(INITS) + 1) / INITS, label=f"{n} neurons")
    losses.set(xlabel="loss at the end", ylabel="share of the runs at or below", ylim=(0.5, 1.02))
    losses.legend(frameon=False)
    figure.suptitle("Two-layer ReLU networks that learn from one of their size")
    write_figure(shares, "spurious-minima")
