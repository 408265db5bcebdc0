"""The edge of stability: training sharpens the loss up to what the learning rate can bear.

Claim: full-batch training raises the largest curvature λ from well below to the limit of stability,
and then holds it there: 2/η for gradient descent with the learning rate η, 2(1 + β)/η with the
momentum β of Polyak, (2 + 2β)/((1 + 2β)η) with Nesterov's, and 38/η for Adam, where λ is that of
the preconditioned Hessian.
Source: Cohen, Kaur, Li, Kolter and Talwalkar, Gradient descent on neural networks typically occurs
at the edge of stability, 2021; Cohen et al., Adaptive gradient methods at the edge of stability,
2022.

The net has 300 parameters and fits 20 points of Chebyshev polynomials of degree 3, 4 and 5, from a
start of about the given λ. Measured is the median over the last third of the three runs together.
Single ones are farther off in two cases: 1.09 for gradient descent with η = 0.4 and degree 5, and
0.91 for Polyak's momentum of 0.9 and degree 3, whose limit is so high that 12,000 steps, enough for
all others, bring the three together to 0.85 only: it takes 48,000.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure

X = np.linspace(-1, 1, 20)
WIDTH = 100
DEGREES = [3, 4, 5]
SEED = 8  # of the first 12, the one whose λ at the start is nearest to the given one
ROWS = 120  # of the record
LANCZOS = 30  # steps, after which the error is rounding
EXACT = partial(gdjax.curvature.sharpness, max_steps=LANCZOS)
PRECONDITIONED = partial(gdjax.curvature.preconditioned_sharpness, max_steps=LANCZOS)


class Case(NamedTuple):
    """An optimizer with its learning rates, momenta and limits of λ."""

    name: str
    optimizer: Any
    rates: tuple[float, ...]
    momenta: tuple[float, ...]
    limits: tuple[float, ...]
    steps: int = 12_000
    curvature: Any = gdjax.record.of_loss(EXACT)


NESTEROV = partial(optax.sgd, nesterov=True)
ADAM = gdjax.record.of_loss(PRECONDITIONED, "params", "opt_state")
CASES = (
    Case("gradient descent", optax.sgd, (0.1, 0.2, 0.4), (0.0, 0.0, 0.0), (20.0, 10.0, 5.0)),
    Case("Polyak", optax.sgd, (0.1,), (0.9,), (38.0,), steps=48_000),
    Case("Polyak", optax.sgd, (0.2,), (0.5,), (15.0,)),
    Case("Nesterov", NESTEROV, (0.1, 0.2), (0.9, 0.5), (3.8 / 0.28, 7.5)),
    Case("Adam", optax.adam, (1e-3, 3e-3, 1e-2), (0.9,) * 3, (38e3, 38e3 / 3, 3.8e3), 12_000, ADAM),
)


def loss(params, target):
    hidden = jnp.tanh(X[:, None] * params["w"] + params["b"])
    return jnp.mean((hidden @ params["v"] - target) ** 2) / 2


def start():
    """Return Xavier's normal weights, with a gain of 1.9 on the first layer."""
    w, v = (2 / (1 + WIDTH)) ** 0.5 * jax.random.normal(jax.random.key(SEED), (2, WIDTH))
    return {"w": 1.9 * w, "b": jnp.zeros(WIDTH), "v": v}


def targets():
    return np.stack([np.polynomial.Chebyshev.basis(degree)(X) for degree in DEGREES])


@cache
def ratios(case):
    """Return λ over its limit [rates, degrees, records]."""
    params = start()
    record = gdjax.record.every(case.steps // ROWS, case.curvature)

    def lane(step, target):
        optimizer = case.optimizer(step["rate"], step["momentum"])
        rest = {"stop": None, "max_steps": case.steps, "record": record}
        return gdjax.Descent(loss, params, optimizer, (target,), **rest)

    step = gdjax.paired(rate=np.array(case.rates), momentum=np.array(case.momenta))
    runs = gdjax.sweep(lane, step=step, target=targets(), tile=1)
    return runs.record.values.value / np.array(case.limits)[:, None, None]


def beyond_the_limit():
    """Return how runs end with Polyak's momentum at a rate that the start can hardly bear."""
    params, optimizer = start(), optax.sgd(0.4, 0.9)
    return gdjax.sweep(
        lambda target: gdjax.Descent(loss, params, optimizer, (target,), max_steps=1000),
        target=targets(),
    ).status


def measure() -> list[Measured]:
    with jax.enable_x64(True):
        found = [ratios(case) for case in CASES]
        first = [float(EXACT(loss, start(), target).value) for target in targets()]
        ends = beyond_the_limit()
    before = max(r[:, :, 0].max() for case, r in zip(CASES, found) if case.name != "Adam")
    measured = [
        Measured("λ at the start", float(np.mean(first)), 2.93, 0.1),
        Measured("largest λ ÷ limit at the start", float(before), 0.3, 0.3),
    ]
    for case, ratio in zip(CASES, found):
        settled = np.median(ratio[:, :, -ROWS // 3 :], axis=(1, 2))
        for rate, momentum, median in zip(case.rates, case.momenta, settled):
            name = f"{case.name}, η = {rate:g}, β = {momentum:g}: λ ÷ limit"
            measured.append(Measured(name, float(median), 1.0, 0.08))
    diverged = float(np.mean(ends == gdjax.Status.DIVERGED))
    measured.append(Measured("Polyak, η = 0.4, β = 0.9: share that diverges", diverged, 1.0, 0.0))
    return measured


def draw() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for case in CASES:
        with jax.enable_x64(True):
            found = ratios(case)[:, 1]
        steps = np.linspace(0, 1, found.shape[-1])
        for rate, momentum, limit, ratio in zip(case.rates, case.momenta, case.limits, found):
            if case is CASES[0]:
                (line,) = left.plot(steps * case.steps, ratio * limit, label=f"η = {rate:g}")
                left.axhline(limit, color=line.get_color(), linestyle="--", linewidth=0.8)
            else:
                label = f"{case.name}, η = {rate:g}, β = {momentum:g}"
                right.plot(steps, ratio, linewidth=1.0, label=label)
    left.set(
        xlabel="step",
        ylabel="largest curvature λ",
        ylim=(0, 22),
        title="Gradient descent, degree 4",
    )
    right.axhline(1, color="black", linestyle="--", linewidth=0.8)
    right.set(
        xlabel="share of the steps", ylabel="λ ÷ limit", ylim=(0, 1.5), title="Momentum, degree 4"
    )
    left.legend(title="dashed: 2/η", frameon=False, loc="lower right", ncols=3)
    right.legend(frameon=False, fontsize="small", loc="lower right")
    write_figure(left, "edge-of-stability")
