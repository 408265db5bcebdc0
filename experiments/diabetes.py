"""Linear regression with `w` and `b` on a real table reaches the closed-form solution.

Claim: with the learning rate and the momentum that the curvature advises, gradient descent on the
mean square comes within 1e-6 of the least-squares solution, and momentum takes far fewer steps.
Source: the 442 patients of scikit-learn's diabetes table (Efron, Hastie, Johnstone and Tibshirani,
Least angle regression, 2004), each of 10 columns in standard units.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure

KINDS = {"gradient descent": "gd", "Polyak's momentum": "polyak"}


def table() -> tuple[np.ndarray, np.ndarray]:
    """Return float64 [442, 10] in standard units, and the progression of the disease [442]."""
    from sklearn.datasets import load_diabetes

    bunch: Any = load_diabetes(scaled=False)
    return (bunch.data - bunch.data.mean(0)) / bunch.data.std(0), bunch.target.astype(float)


def loss(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2) / 2


def solution(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return w and b, as the closed form has them."""
    return np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y)[0]


def descended(family: str) -> tuple[gdjax.Result, float]:
    """Return the result, and how far it is from the closed form."""
    x, y = table()
    data, start = gdjax.batches.full((x, y)), {"w": jnp.zeros(10), "b": jnp.zeros(())}
    advice = gdjax.advise(loss, start, "gd", data.data)
    optimizer = (
        optax.sgd(advice.best_rate)
        if family == "gd"
        else optax.sgd(advice.best_momentum_rate, momentum=advice.best_momentum)
    )
    stop = gdjax.stop.gradient_below(tol=1e-9)
    record = gdjax.record.every(1)
    d = gdjax.Descent(
        loss, start, optimizer, batches=data, stop=stop, record=record, max_steps=20_000
    )
    result = gdjax.run(d)
    found = np.append(result.params["w"], result.params["b"])
    return result, float(np.max(np.abs(found - solution(x, y))))


def measure() -> list[Measured]:
    with jax.enable_x64(True):
        plain, pushed = (descended(family) for family in KINDS.values())
    steps = float(pushed[0].steps) / float(plain[0].steps)
    return [
        Measured("distance from the closed form, gradient descent", plain[1], 0.0, 1e-6),
        Measured("distance from the closed form, momentum", pushed[1], 0.0, 1e-6),
        Measured("steps of momentum, in those without", steps, 0.125, 0.125),
    ]


def draw() -> None:
    from gdjax.plot import loss_curves

    with jax.enable_x64(True):
        x, y = table()
        w = solution(x, y)
        least = float(loss({"w": w[:-1], "b": w[-1]}, (x, y)))
        series = {name: descended(family)[0].record for name, family in KINDS.items()}
    above = {n: one._replace(values=np.asarray(one.values) - least) for n, one in series.items()}
    ax = loss_curves(above)
    ax.set(yscale="log", ylim=(1e-9, None), ylabel="loss above that of the closed form")
    ax.set(
        title="Linear regression on the diabetes table, advised rates", xscale="log", xlim=(1, None)
    )
    write_figure(ax, "diabetes")
