"""Feigenbaum's route to chaos, through the learning rate of gradient descent.

Claim: gradient descent on x³/3 − x²/2 is conjugate to the logistic map with r = 1 + η, where η is
the learning rate. Its period doubles at rates whose distances shrink by Feigenbaum's constant, a
window of period 3 opens at 2√2, and at η = 3 the Lyapunov exponent is ln 2.
Source: M. J. Feigenbaum, Quantitative universality for a class of nonlinear transformations, 1978.

A sweep sees which period each rate ends in. From the last rate of a period, Newton's method goes to
where the derivative of the cycle is −1, as at a doubling, or 1, as where a cycle is born.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax
from experiments.outcome import Measured, write_figure

DOUBLINGS = [2.0, 6**0.5, 2.544090, 2.564407, 2.568759, 2.569692]
SETTLED = 20_000  # steps
LONGEST = 64  # period that is looked for
SAME = 1e-6  # distance below which two points of a settled orbit are one


def cubic(x):
    return x**3 / 3 - x**2 / 2


def log_stretch(state):
    """Return the logarithm of what the next step multiplies a small difference by."""
    rate = state.opt_state.hyperparams["learning_rate"]
    return jnp.log(jnp.abs(1 - rate * jax.grad(jax.grad(cubic))(state.params)))


def after(x, learning_rate, steps):
    """Return where gradient descent is after a fixed number of steps."""
    d = gdjax.Descent(cubic, x, optax.sgd(learning_rate), stop=None, max_steps=steps)
    return gdjax.run(d).params


def settled_orbit(learning_rate):
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=learning_rate)
    start = after(0.5, learning_rate, SETTLED)
    record = {
        "x": gdjax.record.every(1, lambda state: state.params),
        "exponent": gdjax.record.mean(log_stretch),
    }
    return gdjax.Descent(cubic, start, optimizer, stop=None, max_steps=LONGEST, record=record)


def periods(orbits):
    """Return the smallest period of each orbit [rates, steps + 1], 0 where there is none."""
    returns = np.abs(orbits[:, 1:] - orbits[:, :1]) < SAME
    return np.where(returns.any(axis=1), returns.argmax(axis=1) + 1, 0)


@partial(jax.jit, static_argnames="period")
def rate_of_slope(x, learning_rate, slope, period):
    """Return the learning rate close by at which the derivative of a cycle is `slope`."""

    def misses(point):
        x, learning_rate = point
        end, derivative = jax.jvp(
            lambda x: after(x, learning_rate, period), (x,), (jnp.ones_like(x),)
        )
        return jnp.stack([end - x, derivative - slope])

    def newton(_, point):
        return point - jnp.linalg.solve(jax.jacfwd(misses)(point), misses(point))

    return jax.lax.fori_loop(0, 20, newton, jnp.stack([x, learning_rate]))[1]


def doublings():
    rates = np.linspace(1.9, 2.57, 6701)
    x = gdjax.sweep(settled_orbit, learning_rate=rates).record["x"].values
    period = periods(x)
    found = []
    for p in (2**n for n in range(len(DOUBLINGS))):
        last = np.flatnonzero(period == 2 * p)[0] - 1
        found.append(float(rate_of_slope(x[last, 0], rates[last], -1.0, p)))
    return found


def birth_of_period_3():
    rates = np.linspace(2.82, 2.84, 201)
    x = gdjax.sweep(settled_orbit, learning_rate=rates).record["x"].values
    first = np.flatnonzero(periods(x) == 3)[0]
    return float(rate_of_slope(x[first, 0], rates[first], 1.0, 3))


def exponent_at_3():
    def lane(start):
        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=3.0)
        mean = gdjax.record.mean(log_stretch)
        return gdjax.Descent(cubic, start, optimizer, stop=None, max_steps=20_000, record=mean)

    starts = gdjax.uniform(jax.random.key(0), {"x": (0.0, 4 / 3)}, 256)
    return float(gdjax.sweep(lambda start: lane(start["x"]), start=starts).record.mean())


def measure() -> list[Measured]:
    with jax.enable_x64(True):
        found, birth, exponent = doublings(), birth_of_period_3(), exponent_at_3()
    measured = [
        Measured(f"doubling to period {2 ** (n + 1)}", rate, expected, 1e-5)
        for n, (rate, expected) in enumerate(zip(found, DOUBLINGS))
    ]
    delta = (found[-2] - found[-3]) / (found[-1] - found[-2])
    return [
        *measured,
        Measured("Feigenbaum's constant", delta, 4.6692, 0.02),
        Measured("birth of period 3", birth, 8**0.5, 1e-5),
        Measured("Lyapunov exponent at 3", exponent, np.log(2.0), 1e-3),
    ]


def draw() -> None:
    from matplotlib.figure import Figure

    rates = np.linspace(1.8, 3.0, 2400)
    with jax.enable_x64(True):
        record = gdjax.sweep(settled_orbit, learning_rate=rates).record
    figure = Figure(figsize=(8, 6), layout="constrained")
    orbits, exponents = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    x = record["x"].values
    orbits.plot(np.repeat(rates, x.shape[1]), x.ravel(), ",", color="black", alpha=0.3)
    for rate in DOUBLINGS[:3]:
        orbits.axvline(rate, color="tab:blue", linewidth=0.8)
    orbits.axvline(8**0.5, color="tab:orange", linewidth=0.8)
    orbits.set(ylabel="x, where it ends", title="Gradient descent on x³/3 − x²/2")
    exponents.plot(rates, record["exponent"], color="black", linewidth=0.5)
    exponents.axhline(0, color="grey", linewidth=0.8)
    exponents.set(ylim=(-2, 1), xlabel="learning rate", ylabel="Lyapunov exponent")
    write_figure(orbits, "feigenbaum")
