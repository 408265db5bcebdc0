import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Verdict
from gdjax.diagnosis.orbit import WINDOW, closure, orbit

CLEAR = 0.03  # exponent beyond which an orbit is far from doubling its period, and from chaos


def cubic(x):
    return x**3 / 3 - x**2 / 2


def feigenbaum(rate):
    """Return the diagnosis of the logistic map with parameter 1 + rate."""
    start = jnp.asarray(0.7)
    d = Descent(cubic, start, optax.sgd(rate), stop=None, max_steps=1000)
    return gdjax.diagnose(d, gdjax.run(d))


feigenbaums = jax.jit(jax.vmap(feigenbaum))


def map_of(rates, steps=100_000):
    """Return periods of the logistic map, 0 beyond 32, and exponents, iterated by numpy."""
    x, growth = np.full(rates.shape, 0.7), []
    for _ in range(steps):
        x = x - rates * (x**2 - x)
    places = [x]
    for _ in range(4 * WINDOW):
        growth.append(np.log(np.abs(1 - rates * (2 * x - 1))))
        x = x - rates * (x**2 - x)
        places.append(x)
    places = np.array(places)
    away = [np.max(np.abs(places[p:] - places[:-p]), axis=0) for p in range(1, 33)]
    returns = np.array(away) < 1e-6
    periods = np.where(returns.any(axis=0), 1 + returns.argmax(axis=0), 0)
    return periods, np.mean(growth, axis=0)


def closed(places, growth):
    """Return the closure of an orbit of two windows in which each step stretches alike."""
    grown, seen = jnp.full(WINDOW, growth).cumsum(), jnp.asarray(places).reshape(2, WINDOW)
    stride = jnp.max(jnp.abs(jnp.diff(seen[1])))
    before, now = (orbit(w, grown, stride, jnp.asarray(1e-7), jnp.ones(())) for w in seen)
    return closure(before, now, jnp.zeros((), bool))


@pytest.mark.parametrize("period", [2, 3, 5, 7, 11, 13])
@pytest.mark.parametrize("side", [1, -1])
def test_an_orbit_has_the_period_that_it_settles_on_from_one_side_or_both(period, side):
    number = np.arange(2 * WINDOW)
    deviation = 1e-3 * np.exp(-0.05 * number) * float(side) ** (number // period)
    found = closed(np.sin(2 * np.pi * number / period + 1) + deviation, -0.05)
    assert (found.closed, found.period) == (True, period)


def test_a_near_return_where_a_window_begins_is_no_period():
    places = np.random.default_rng(0).normal(size=2 * WINDOW)
    places[5::WINDOW] = places[WINDOW - 1 :: WINDOW] = places[0]
    assert not closed(places, -0.1).closed


@pytest.mark.long
def test_periods_double_on_the_way_to_chaos(x64):
    rates = jnp.array([1.9, 2.2, 2.5, 2.55, 2.566, 2.5692, 2.8285, 3.0])
    found = feigenbaums(rates)
    assert found.period.tolist() == [0, 2, 4, 8, 16, 32, 3, 0]
    assert found.verdict[0] == Verdict.MINIMUM
    assert (found.verdict[1:7] == Verdict.OSCILLATING).all()
    assert found.verdict[7] == Verdict.BOUNDED
    assert found.unstable.tolist() == [False] + [True] * 7
    np.testing.assert_allclose(found.lyapunov[7], np.log(2), atol=0.03)
    np.testing.assert_allclose(found.spectral_radius[1:7], rates[1:7] - 1, rtol=1e-3)


@pytest.mark.long
def test_a_cycle_about_to_double_has_its_own_period_and_exponent(x64):
    rates = np.array([2.1, 2.44, 2.5435, 2.55, 2.83, 2.838, 2.84, 2.845])
    periods = [2, 2, 4, 8, 3, 3, 3, 6]
    found = feigenbaums(jnp.asarray(rates))
    exponents = []
    for rate, period in zip(rates, periods):
        x, growth = 0.7, []
        for _ in range(100_000 + period):
            growth.append(np.log(abs(1 - rate * (2 * x - 1))))
            x -= rate * (x**2 - x)
        exponents.append(np.mean(growth[-period:]))
    assert found.period.tolist() == periods
    np.testing.assert_allclose(found.lyapunov, exponents, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_periods_of_many_rates_are_those_of_the_map(x64, dtype):
    random = np.random.default_rng(0)
    rates = jnp.asarray(
        np.concatenate([random.uniform(2.05, 3, 300), random.uniform(2.83, 2.85, 100)]), dtype
    )
    periods, exponents = map_of(np.asarray(rates, float))

    def lane(rate):
        start = jnp.asarray(0.7, dtype)
        return Descent(cubic, start, optax.sgd(rate), stop=None, max_steps=100)

    found = gdjax.sweep(lane, rate=rates, diagnose=True).diagnosis
    cycles, chaos = exponents < -CLEAR, exponents > CLEAR
    assert found.period[cycles].tolist() == periods[cycles].tolist()
    if dtype == jnp.float64:  # in float32 a few chaotic orbits close exactly
        assert set(found.verdict[chaos]) == {Verdict.BOUNDED}


@pytest.mark.long
def test_the_period_of_independent_parameters_is_their_common_multiple():
    own, rates = [2, 3, 4, 5, 6], np.array([2.2, 2.835, 2.5, 2.7394, 2.6275])
    assert map_of(rates)[0].tolist() == own

    def lane(first, second):
        def loss(w):
            return first * cubic(w["a"]) + second * cubic(w["b"])

        return Descent(loss, {"a": 0.7, "b": 0.7}, optax.sgd(1.0), stop=None, max_steps=100)

    found = gdjax.sweep(lane, first=rates, second=rates, diagnose=True).diagnosis
    assert found.period.tolist() == np.lcm.outer(own, own).tolist()
