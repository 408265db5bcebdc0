from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status
from gdjax.transforms import malitsky_mishchenko

pytestmark = pytest.mark.usefixtures("x64")
FEATURES = np.random.default_rng(0).normal(size=(20, 5))
SMOOTHNESS = np.linalg.eigvalsh(FEATURES.T @ FEATURES / 4).max() + 0.1


def logistic(w):
    return jnp.sum(jnp.logaddexp(0, jnp.asarray(FEATURES) @ w)) + 0.05 * jnp.sum(w**2)


@pytest.fixture
def history(x64):
    return computed_history()


@cache
def computed_history():
    record = {
        "w": gdjax.record.every(1, lambda state: state.params),
        "loss": gdjax.record.every(1, lambda state: state.loss),
        "grad": gdjax.record.every(1, lambda state: state.grad),
        "rate": gdjax.record.every(1, lambda state: state.opt_state.learning_rate),
        "growth": gdjax.record.every(1, lambda state: state.opt_state.growth),
    }
    d = Descent(
        logistic, jnp.ones(5), malitsky_mishchenko(1e-6), stop=None, max_steps=60, record=record
    )
    return {name: np.asarray(series.values) for name, series in gdjax.run(d).record.items()}


def test_step_sizes_are_those_of_algorithm_1(history):
    w, g = history["w"], history["grad"]
    rate, growth = 1e-6, np.inf
    for k in range(1, 60):
        local = np.linalg.norm(w[k] - w[k - 1]) / (2 * np.linalg.norm(g[k] - g[k - 1]))
        new = min(np.sqrt(1 + growth) * rate, local)
        rate, growth = new, new / rate
        assert history["rate"][k + 1] == pytest.approx(rate, rel=1e-6)


def test_step_sizes_are_at_least_half_the_inverse_smoothness(history):
    assert (history["rate"][2:] >= 1 / (2 * SMOOTHNESS)).all()


@pytest.mark.long
def test_energy_of_the_paper_never_rises(history):
    minimum = gdjax.run(Descent(logistic, jnp.ones(5), optax.lbfgs()))
    w, best, rate, growth = history["w"], minimum, history["rate"], history["growth"]
    gap = history["loss"] - float(best.loss)
    away = np.sum((w - np.asarray(best.params)) ** 2, axis=1)
    moved = np.sum((w[1:] - w[:-1]) ** 2, axis=1)
    k = np.arange(2, 58)
    # Lemma 1: |w(k+1) - w*|² + ½|w(k+1) - w(k)|² + 2 λ(k)(1 + θ(k)) (f(w(k)) - f*), with λ(k) that
    # of the step from w(k), which the state holds afterwards.
    energy = away[k + 1] + moved[k] / 2 + 2 * rate[k + 1] * (1 + growth[k + 1]) * gap[k]
    rounding = 16 * np.finfo(float).eps * float(best.loss)
    assert (np.diff(energy) <= rounding).all()
    assert energy[-1] < 0.01 * energy[0]


def quartic(w):
    return jnp.sum(w**4) / 4


@pytest.mark.long
def test_quartic_converges_from_wherever_a_constant_rate_diverges():
    starts = np.array([0.5, 3.0, 30.0, 1e4])

    def lane(start, adaptive):
        own, fixed = malitsky_mishchenko(1e-12), optax.sgd(1.0)
        optimizer = own if adaptive else fixed
        stop = gdjax.stop.gradient_below(1e-6)
        return Descent(quartic, start, optimizer, stop=stop, max_steps=500)

    fixed = gdjax.sweep(lambda start: lane(start, False), start=starts).status
    adaptive = gdjax.sweep(lambda start: lane(start, True), start=starts).status
    assert list(fixed == Status.DIVERGED) == [False, True, True, True]
    assert (adaptive == Status.CONVERGED).all()


def test_a_slope_without_curvature_lets_the_rate_grow():
    record = gdjax.record.every(1, lambda state: state.opt_state.learning_rate)
    d = Descent(lambda w: w, 0.0, malitsky_mishchenko(0.1), stop=None, max_steps=5, record=record)
    rate = gdjax.run(d).record.values
    assert rate[3] / rate[2] == pytest.approx(np.sqrt(2), rel=1e-12)
    assert (jnp.diff(rate[2:]) > 0).all()


@pytest.mark.long
def test_a_run_may_be_differentiated_in_the_first_rate():
    def end(rate):
        optimizer = malitsky_mishchenko(rate)
        return gdjax.run(Descent(quartic, 1.0, optimizer, stop=None, max_steps=4)).loss

    h = 1e-6
    ends = jax.jit(jax.vmap(end))(0.1 + jnp.array([-h, h]))
    assert float(jax.grad(end)(0.1)) == pytest.approx(float(ends[1] - ends[0]) / (2 * h), rel=1e-6)
