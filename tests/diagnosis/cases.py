"""Labelled descents in two parameters, and the same in other units and from nearby.

All losses are sums of a few terms, so that one compiled program serves every case of an optimizer.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax
from gdjax import Verdict

TERMS = {
    "one": lambda x, y: jnp.ones_like(x),
    "x": lambda x, y: x,
    "xx": lambda x, y: x**2,
    "yy": lambda x, y: y**2,
    "x3": lambda x, y: x**3,
    "x4": lambda x, y: x**4,
    "y4": lambda x, y: y**4,
    "monkey": lambda x, y: x**3 - 3 * x * y**2,
    "valley": lambda x, y: (x * y - 1) ** 2,
    "product": lambda x, y: x**2 * y**2,
    "ring": lambda x, y: (x**2 + y**2 - 1) ** 2,
    "himmelblau": lambda x, y: gdjax.landscapes.himmelblau(jnp.stack([x, y])),
    "rosenbrock": lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    "neuron": lambda x, y: jax.nn.sigmoid(x + y) ** 2 / 2,
    "tail": lambda x, y: jnp.exp(-x),
    "separable": lambda x, y: (
        jax.nn.softplus(-x / 2 - 3 * y / 2) + jax.nn.softplus(-1.5 * x - y / 2)
    ),
    "bell": lambda x, y: -jnp.exp(-(x**2 + y**2) / 2),
    "cos": lambda x, y: jnp.cos(x),
    "abs": lambda x, y: jnp.maximum(x, -x),  # its derivative at 0 is taken as 0
    "relu": lambda x, y: jax.nn.relu(x),
    "relu_1": lambda x, y: jax.nn.relu(1 - jax.nn.relu(x)),
    "root": lambda x, y: jnp.sqrt(1.5 - x),  # NaN beyond
}


def loss(w, weights, unit, height):
    """Return the sum of the terms by name, in other units of the parameters and of the loss."""
    total = 0.0
    for name, weight in weights.items():
        x, y = jnp.where(weight == 0, 0, w / unit)
        total += weight * TERMS[name](x, y)
    return height * total


class Case(NamedTuple):
    name: str
    verdict: Verdict
    terms: dict
    start: tuple
    rate: float
    optimizer: str = "sgd"
    tol: float | None = None  # of the gradient; None is the default
    steps: int = 10_000
    exact: bool = False  # whether the start is exactly where it is, and stays
    flags: tuple = ()


OPTIMIZERS = {
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "undamped": lambda rate: optax.sgd(rate, momentum=1.0),
    "adam": optax.adam,
    "rmsprop": optax.rmsprop,
    "lbfgs": lambda rate: optax.lbfgs(),
}
BOWL, STRETCHED = {"xx": 0.5, "yy": 0.5}, {"xx": 0.5, "yy": 100.0}
FEIGENBAUM = {"x3": 1 / 3, "xx": -0.5, "yy": 0.1}
STRICT = {"xx": 0.5, "yy": -0.5, "y4": 0.25}

CASES = [
    Case("bowl", Verdict.MINIMUM, BOWL, (3.0, -2.0), 0.3),
    Case("himmelblau", Verdict.MINIMUM, {"himmelblau": 1}, (0.3, 0.2), 0.01),
    Case("stretched", Verdict.MINIMUM, STRETCHED, (3.0, 1.0), 0.0098, flags=("ill_conditioned",)),
    Case(
        "below rounding",
        Verdict.MINIMUM,
        {"himmelblau": 1},
        (0.3, 0.2),
        0.01,
        tol=1e-9,
        flags=("precision_floor",),
    ),
    Case("kink", Verdict.MINIMUM, {"abs": 1, "yy": 1}, (0.0, 1.0), 0.1, exact=True),
    Case("well", Verdict.MINIMUM, {"ring": 1, "x": 0.3}, (0.3, 0.5), 0.05),
    Case("adam", Verdict.MINIMUM, {"himmelblau": 1}, (0.3, 0.2), 0.05, "adam"),
    Case("rmsprop", Verdict.MINIMUM, {"himmelblau": 1}, (0.3, 0.2), 1e-3, "rmsprop", tol=0.2),
    Case(
        "rmsprop out of budget",
        Verdict.SLOW,
        {"himmelblau": 1},
        (0.3, 0.2),
        1e-3,
        "rmsprop",
        steps=200,
    ),
    Case("momentum", Verdict.MINIMUM, STRETCHED, (3.0, 1.0), 0.005, "momentum"),
    Case("nesterov", Verdict.MINIMUM, STRETCHED, (3.0, 1.0), 0.005, "nesterov"),
    Case("lbfgs", Verdict.MINIMUM, {"rosenbrock": 1}, (-1.0, 1.0), 1.0, "lbfgs"),
    Case("symmetry line", Verdict.SADDLE, STRICT, (1.0, 0.0), 0.1, exact=True),
    Case("nearly on it", Verdict.SADDLE, STRICT, (1.0, 1e-8), 0.1, tol=1e-3),
    Case("monkey", Verdict.SADDLE, {"monkey": 1}, (1.0, 0.0), 0.05, exact=True),
    Case("inflection", Verdict.SADDLE, {"x3": 1, "yy": 1}, (1.0, 1.0), 0.1),
    Case("momentum at a saddle", Verdict.SADDLE, STRICT, (1.0, 0.0), 0.1, "momentum", exact=True),
    Case("top", Verdict.MAXIMUM, {"ring": 1}, (0.0, 0.0), 0.1, exact=True),
    Case("crest", Verdict.MAXIMUM, {"cos": 1, "yy": -1}, (0.0, 0.0), 0.1, exact=True),
    Case("flat top", Verdict.MAXIMUM, {"x4": -1, "y4": -1}, (0.0, 0.0), 0.1, exact=True),
    Case("hyperbola", Verdict.VALLEY, {"valley": 1}, (2.0, 1.0), 0.05),
    Case("ring", Verdict.VALLEY, {"ring": 1}, (0.4, 0.5), 0.05),
    Case("quartic", Verdict.VALLEY, {"x4": 1, "yy": 1}, (1.0, 1.0), 0.1, tol=4e-4),
    Case("constant", Verdict.VALLEY, {"one": 1}, (1.0, 2.0), 0.1),
    Case("dead", Verdict.VALLEY, {"relu": 1, "yy": 1}, (1.0, 1.0), 0.1),
    Case("catapult", Verdict.VALLEY, {"product": 0.5}, (0.5, 2.0), 0.6, flags=("spiked",)),
    Case("adam in a valley", Verdict.VALLEY, {"valley": 1}, (2.0, 1.0), 0.02, "adam"),
    Case("saturated", Verdict.PLATEAU, {"neuron": 1}, (4.0, 4.0), 0.15, tol=1e-2),
    Case("tail", Verdict.PLATEAU, {"tail": 1, "yy": 1}, (1.0, 1.0), 0.3, tol=1e-3),
    Case("outside the bell", Verdict.PLATEAU, {"bell": 1}, (4.0, 2.0), 0.1, tol=1e-2),
    Case("quartic far out", Verdict.PLATEAU, {"x4": 1, "yy": 1}, (0.1, 0.0), 0.1, tol=2e-3),
    Case(
        "saturated out of budget",
        Verdict.PLATEAU,
        {"neuron": 1},
        (3.0, 3.0),
        0.15,
        steps=200,
        tol=1e-6,
    ),
    Case("dead layer", Verdict.PLATEAU, {"relu_1": 1, "yy": 1}, (-1.0, 1.0), 0.1),
    Case("timid", Verdict.SLOW, {"himmelblau": 1}, (5.0, 4.0), 1e-5, steps=200),
    Case(
        "banana",
        Verdict.SLOW,
        {"rosenbrock": 1},
        (-1.0, 1.0),
        5e-4,
        steps=500,
        flags=("ill_conditioned",),
    ),
    Case(
        "quartic out of budget",
        Verdict.SLOW,
        {"x4": 1, "yy": 1},
        (1.0, 1.0),
        0.1,
        tol=1e-6,
        steps=1000,
    ),
    Case("separable", Verdict.SLOW, {"separable": 1}, (0.1, 0.2), 1.0, tol=1e-6, steps=1000),
    Case("nearly unstable", Verdict.SLOW, BOWL, (3.0, -2.0), 1.97, steps=100),
    Case(
        "adam out of budget", Verdict.SLOW, {"himmelblau": 1}, (0.3, 0.2), 1e-3, "adam", steps=200
    ),
    Case("at the limit", Verdict.OSCILLATING, {"xx": 0.5, "yy": 0.1}, (1.0, 1.0), 2.0, exact=True),
    Case("period 2", Verdict.OSCILLATING, FEIGENBAUM, (0.7, 1.0), 2.2, flags=("unstable",)),
    Case("period 4", Verdict.OSCILLATING, FEIGENBAUM, (0.7, 1.0), 2.5),
    Case("across a kink", Verdict.OSCILLATING, {"abs": 1, "yy": 1}, (1.03, 1.0), 0.1),
    Case(
        "across a well", Verdict.OSCILLATING, {"x4": 0.25, "xx": -0.5, "yy": 0.1}, (0.6, 1.0), 1.2
    ),
    Case(
        "momentum across a kink",
        Verdict.OSCILLATING,
        {"abs": 1, "yy": 1},
        (1.03, 1.0),
        0.1,
        "momentum",
        steps=500,
    ),
    Case(
        "chaos",
        Verdict.BOUNDED,
        FEIGENBAUM,
        (0.7, 1.0),
        2.8,
        flags=("unstable",),
        steps=500,
        tol=1e-7,
    ),
    Case(
        "chaos in a well",
        Verdict.BOUNDED,
        {"x4": 0.25, "xx": -0.5, "yy": 0.1},
        (0.6, 1.0),
        1.6,
        steps=500,
    ),
    Case("undamped", Verdict.BOUNDED, BOWL, (1.0, 0.5), 0.37, "undamped", steps=500),
    Case("too fast", Verdict.DIVERGED, BOWL, (3.0, -2.0), 2.2, flags=("unstable",)),
    Case("growing", Verdict.DIVERGED, BOWL, (3.0, -2.0), 2.05, steps=50, flags=("unstable",)),
    Case("quartic too fast", Verdict.DIVERGED, {"x4": 1, "yy": 1}, (2.0, 1.0), 0.3),
    Case("unbounded below", Verdict.DIVERGED, {"xx": 0.5, "yy": -0.5}, (1.0, 0.1), 0.1, steps=100),
    Case("into NaN", Verdict.DIVERGED, {"root": 1, "yy": 1}, (1.0, 1.0), 0.1),
    Case("momentum too fast", Verdict.DIVERGED, BOWL, (3.0, -2.0), 4.0, "momentum"),
]


class Lanes(NamedTuple):
    """Cases as arrays [lanes, ...]."""

    weights: dict  # of each term
    start: np.ndarray
    rate: np.ndarray
    tol: np.ndarray
    steps: np.ndarray
    unit: np.ndarray
    height: np.ndarray


def lanes(cases, key=0, copies=1):
    """Return the cases, each followed by `copies - 1` in other units, at other rates and starts."""
    random = np.random.default_rng(key)
    eps = np.finfo(jax.dtypes.canonicalize_dtype(float)).eps
    names = sorted({name for case in cases for name in case.terms})
    rows = []
    for case in cases:
        for copy in range(copies):
            unit = height = 1.0
            rate, start = case.rate, np.array(case.start)
            if copy:
                unit, height = 10.0 ** random.uniform(-3, 3), 10.0 ** random.uniform(-4, 4)
                if not case.exact:
                    rate *= random.uniform(0.99, 1.01)
                    start = start * random.uniform(0.97, 1.03, 2)
            rate *= {"adam": unit, "rmsprop": unit, "lbfgs": 1.0}.get(
                case.optimizer, unit**2 / height
            )
            tol = eps**0.5 if case.tol is None else case.tol
            weights = [case.terms.get(name, 0.0) for name in names]
            rows.append(
                (weights, start * unit, rate, tol * height / unit, case.steps, unit, height)
            )
    dtype = jax.dtypes.canonicalize_dtype(float)
    found = Lanes(*(np.array(column).astype(dtype) for column in zip(*rows)))
    weights = dict(zip(names, found.weights.T))
    return found._replace(weights=weights, steps=found.steps.astype(np.int32))


def diagnosed(optimizer):
    """Return the compiled function of lanes to diagnoses."""

    def one(lane):
        d = gdjax.Descent(
            loss,
            lane.start,
            OPTIMIZERS[optimizer](lane.rate),
            (lane.weights, lane.unit, lane.height),
            stop=gdjax.stop.gradient_below(lane.tol),
            max_steps=lane.steps,
        )
        return gdjax.diagnose(d, gdjax.run(d))

    return jax.jit(jax.vmap(one))
