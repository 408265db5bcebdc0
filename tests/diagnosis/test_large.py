"""Verdicts beyond 256 parameters, where only the ends of the spectrum are looked at."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Verdict

TERMS = {
    "bowl": lambda w: w @ (jnp.linspace(1, 10, w.size) * w) / 2,
    "rest": lambda w: w[1:] @ w[1:],
    "quartic": lambda w: jnp.sum(w**4),
    "sixth": lambda w: jnp.sum(w**6),
    "cubic": lambda w: jnp.sum(w**3),
    "first": lambda w: w[0] ** 4,
    "wells": lambda w: jnp.sum(w**4 / 4 - w**2 / 2),
    "ring": lambda w: (w @ w - 1) ** 2,
    "tail": lambda w: jnp.sum(jnp.exp(-w)),
    "abs": lambda w: jnp.sum(jnp.maximum(w, -w)),  # its derivative at 0 is taken as 0
}


class Case(NamedTuple):
    verdict: Verdict
    weights: dict
    rate: float
    tol: float = 1e-3
    start: float = 1.0
    steps: int = 3000
    as_long: bool = False  # whether the start is as long among more parameters


CASES = {
    "bowl": Case(Verdict.MINIMUM, {"bowl": 1.0}, 0.1),
    "quartic": Case(Verdict.VALLEY, {"quartic": 1.0}, 0.1),
    "quartic to a low tolerance": Case(Verdict.VALLEY, {"quartic": 1.0}, 0.1, tol=1e-4),
    "sixth power": Case(Verdict.VALLEY, {"sixth": 1.0}, 0.1),
    "quartic along one axis": Case(Verdict.VALLEY, {"rest": 1.0, "first": 1.0}, 0.1),
    "ring": Case(Verdict.VALLEY, {"ring": 1.0}, 1e-3, as_long=True),
    "ring from within": Case(Verdict.VALLEY, {"ring": 1.0}, 1e-2, start=0.02, as_long=True),
    "constant": Case(Verdict.VALLEY, {}, 0.1),
    "inflection": Case(Verdict.SADDLE, {"cubic": 1.0}, 0.1),
    "ridge": Case(Verdict.SADDLE, {"rest": 1.0, "first": -1.0}, 0.1, start=0.0),
    "flat top": Case(Verdict.MAXIMUM, {"quartic": -1.0}, 0.1, start=0.0),
    "crest": Case(Verdict.MAXIMUM, {"bowl": -1.0}, 0.1, start=0.0),
    "kink": Case(Verdict.MINIMUM, {"abs": 1.0}, 0.1, start=0.0),
    "tail": Case(Verdict.PLATEAU, {"tail": 1.0}, 0.3, tol=2e-3),
    "out of budget": Case(Verdict.SLOW, {"bowl": 1.0}, 1e-3, steps=100),
    "quartic out of budget": Case(Verdict.SLOW, {"quartic": 1.0}, 0.1, steps=100),
    "period 2": Case(Verdict.OSCILLATING, {"wells": 1.0}, 1.2, start=0.6, steps=500),
    "too fast": Case(Verdict.DIVERGED, {"bowl": 1.0}, 0.25),
}


def loss(w, weights):
    return sum(weights[name] * jnp.where(weights[name] == 0, 0, f(w)) for name, f in TERMS.items())


@cache
def diagnosed(dim):
    """Return the compiled function of a case to its diagnosis."""

    def one(weights, start, rate, tol, steps):
        stop = gdjax.stop.gradient_below(tol)
        w = start * jnp.linspace(0.5, 1, dim)
        d = Descent(loss, w, optax.sgd(rate), (weights,), stop=stop, max_steps=steps)
        return gdjax.diagnose(d, gdjax.run(d))

    return jax.jit(one)


def found(case, dim):
    weights = {name: jnp.float32(case.weights.get(name, 0.0)) for name in TERMS}
    start = case.start * (257 / dim) ** 0.5 if case.as_long else case.start
    numbers = map(jnp.float32, (start, case.rate, case.tol))
    return diagnosed(dim)(weights, *numbers, jnp.int32(case.steps))


def mixed(w, curvatures, axes, fourth):
    along = axes.T @ w
    return along @ (curvatures * along) / 2 + fourth * along[0] ** 4


@pytest.fixture(scope="module")
def at_rest():
    """The diagnosis of a run that rests at 0 among 260 parameters, as axes bend there."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(260, 260)))[0].astype(np.float32)
    optimizer = optax.sgd(0.1)

    def of(curvatures, fourth):
        args = curvatures.astype(np.float32), axes, np.float32(fourth)
        d = Descent(mixed, jnp.zeros(260), optimizer, args)
        return gdjax.diagnose(d, gdjax.run(d))

    return of


@pytest.mark.long
def test_falling_direction_hidden_in_a_kernel_is_no_valley(at_rest):
    flat = np.where(np.arange(260) < 10, 0.0, 1.0)
    assert at_rest(flat, -1.0).verdict == Verdict.SADDLE
    assert at_rest(flat, 1.0).verdict == Verdict.VALLEY


@pytest.mark.long
def test_index_counts_curvatures_below_0(at_rest):
    found = at_rest(np.r_[-3.0, -2.0, -1.0, np.linspace(1, 10, 257)], 0.0)
    assert found.verdict == Verdict.SADDLE
    assert found.index == 3


@pytest.mark.long
def test_an_index_among_many_is_the_least_that_it_can_be(at_rest):
    found = at_rest(np.r_[np.linspace(-2, -1, 200), np.ones(60)], 0.0)
    assert found.verdict == Verdict.SADDLE
    assert 16 <= found.index <= 200
    assert not found.counted


@pytest.mark.long
def test_curvatures_over_four_decades_are_those_of_a_minimum(at_rest):
    assert at_rest(np.geomspace(1e-4, 1, 260), 0.0).verdict == Verdict.MINIMUM


@pytest.mark.long
@pytest.mark.parametrize("hidden", [100, 300])
def test_a_network_that_fits_its_data_is_in_a_valley(hidden):
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    first, last = jax.random.split(jax.random.key(1))
    start = {
        "first": jax.random.normal(first, (4, hidden)) / 2,
        "bias": jnp.zeros(hidden),
        "last": jax.random.normal(last, (hidden,)) / hidden**0.5,
    }

    def squares(w):
        return jnp.mean(
            (jnp.tanh(x @ w["first"] + w["bias"][None]) @ w["last"] - np.sin(x[:, 0])) ** 2
        )

    d = Descent(squares, start, optax.adam(3e-3), stop=gdjax.stop.gradient_below(1e-5))
    assert gdjax.diagnose(d, gdjax.run(d)).verdict == Verdict.VALLEY


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_it_gets_its_verdict(name):
    verdict = found(CASES[name], 257).verdict
    assert Verdict(int(verdict)).name == CASES[name].verdict.name


@pytest.mark.long
def test_curvatures_are_those_of_the_ends_of_the_spectrum():
    bowl = found(CASES["bowl"], 257)
    np.testing.assert_allclose([bowl.curvature_min, bowl.curvature_max], [1, 10], rtol=1e-3)
    assert found(CASES["quartic"], 257).flat_dimension == 1


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_it_gets_its_verdict_with_a_hundred_thousand_parameters(name):
    verdict = found(CASES[name], 100_000).verdict
    assert Verdict(int(verdict)).name == CASES[name].verdict.name
