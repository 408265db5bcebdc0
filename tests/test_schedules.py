import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, schedules

pytestmark = pytest.mark.usefixtures("x64")


def silver_steps(n):
    """Return the steps by their recursion: the sequence, a middle one, the sequence again."""
    steps, rho = np.array([]), 1 + np.sqrt(2)
    while len(steps) < n:
        middle = 1 + rho ** (np.log2(len(steps) + 1) - 1)
        steps = np.concatenate([steps, [middle], steps])
    return steps[:n]


def huber(w, smoothness, delta):
    return smoothness * optax.huber_loss(w, delta=delta)


def after(n, smoothness, total, schedule):
    """Return the loss after n steps on the Huber loss that is the worst for these steps."""
    args = smoothness, 1 / (2 * total + 1)
    d = Descent(huber, 1.0, optax.sgd(schedule), args, stop=None, max_steps=n)
    return gdjax.run(d).loss


def test_silver_steps_follow_their_recursion():
    found = jax.jit(jax.vmap(schedules.silver(1.0)))(jnp.arange(1023))
    np.testing.assert_allclose(found, silver_steps(1023), rtol=1e-14)


def test_silver_steps_go_on_to_the_last_step_that_int32_can_count():
    expected = 1 + (1 + np.sqrt(2)) ** 30
    assert schedules.silver(1.0)(2**31 - 2) == 1 + (1 + np.sqrt(2)) ** -1
    assert float(schedules.silver(1.0)(2**31 - 1)) == pytest.approx(expected, rel=1e-14)


def test_silver_schedule_reaches_its_published_bound_on_the_worst_huber_loss():
    end = after(7, 10.0, silver_steps(7).sum(), schedules.silver(1 / 10.0))
    assert float(end) == pytest.approx(10 / (4 * silver_steps(7).sum() + 2), rel=1e-12)
    assert float(end) == pytest.approx(0.1842154, abs=5e-8)


def test_constant_steps_reach_theirs():
    assert float(after(4, 3.0, 4, 1 / 3.0)) == pytest.approx(0.166667, abs=5e-7)


def test_silver_schedule_is_faster_by_the_power_of_the_silver_ratio():
    numbers = 2 ** np.arange(6, 11) - 1
    runs = gdjax.sweep(
        lambda lane: Descent(
            huber,
            1.0,
            optax.sgd(schedules.silver(1.0)),
            (1.0, lane["delta"]),
            stop=None,
            max_steps=lane["n"],
        ),
        lane={
            "n": numbers,
            "delta": np.array([1 / (2 * silver_steps(n).sum() + 1) for n in numbers]),
        },
    )
    slope = np.polyfit(np.log(numbers), np.log(runs.loss), 1)[0]
    assert slope == pytest.approx(-np.log2(1 + np.sqrt(2)), abs=0.01)


def chebyshev_roots(n, smallest, largest):
    nodes = np.cos(np.pi * (2 * np.arange(1, n + 1) - 1) / (2 * n))
    return 2 / ((largest + smallest) + (largest - smallest) * nodes)


@pytest.mark.parametrize("n", [1, 12, 255])
def test_chebyshev_rates_are_all_inverse_roots_once_a_cycle(n):
    schedule = schedules.chebyshev(1.0, 50.0, n)
    found = schedule(jnp.arange(2 * n))
    np.testing.assert_array_equal(found[:n], found[n:])
    np.testing.assert_allclose(np.sort(found[:n]), np.sort(chebyshev_roots(n, 1, 50)), rtol=1e-12)


def test_chebyshev_order_is_that_of_lebedev_and_finogenov():
    order = [1, 15, 7, 9, 3, 13, 5, 11]  # of the odd numbers, for n = 8
    roots = 2 / (11 + 9 * np.cos(np.array(order) * np.pi / 16))
    np.testing.assert_allclose(schedules.chebyshev(1, 10, 8)(jnp.arange(8)), roots, rtol=1e-14)


def shrunk(schedule, n, kappa, dtype):
    """Return the largest coordinate after each step, over a comb of curvatures."""
    curvatures = jnp.linspace(1.0, kappa, 2001).astype(dtype)

    def loss(w):
        return 0.5 * jnp.sum(curvatures * w**2)

    record = gdjax.record.every(1, lambda state: jnp.max(jnp.abs(state.params)))
    start = jnp.ones(2001, dtype)
    d = Descent(loss, start, optax.sgd(schedule), stop=None, max_steps=n, record=record)
    return gdjax.run(d).record.values


@pytest.mark.parametrize("n", [64, 127])
def test_a_chebyshev_cycle_reaches_its_bound_in_float32(n):
    kappa = 1e3
    bound = 1 / np.cosh(n * np.arccosh((kappa + 1) / (kappa - 1)))
    end = shrunk(schedules.chebyshev(1.0, kappa, n), n, kappa, "float32")[-1]
    assert float(end) == pytest.approx(bound, rel=0.02)


def test_ascending_order_loses_all_digits_in_float32():
    rates = jnp.sort(schedules.chebyshev(1.0, 1e3, 64)(jnp.arange(64)))[::-1]
    assert not shrunk(lambda step: rates[step], 64, 1e3, "float32")[-1] < 1.0


@pytest.mark.parametrize("make", [schedules.silver, lambda x: schedules.chebyshev(x, 10 * x, 4)])
def test_hyperparameters_may_be_traced(make):
    values = jnp.array([0.1, 0.2])
    traced = jax.jit(jax.vmap(lambda x: make(x)(5)))(values)
    np.testing.assert_allclose(traced, [make(0.1)(5), make(0.2)(5)], rtol=1e-14)


BAD = {
    "learning_rate": (ValueError, lambda: schedules.silver(np.inf)),
    "smallest": (ValueError, lambda: schedules.chebyshev(0.0, 1.0, 4)),
    "largest": (ValueError, lambda: schedules.chebyshev(2.0, 1.0, 4)),
    "steps": (TypeError, lambda: schedules.chebyshev(1.0, 2.0, 4.5)),
    "steps: expected a whole number, got": (
        TypeError,
        lambda: jax.jit(lambda n: schedules.chebyshev(1.0, 2.0, n)(0))(4),
    ),
}


@pytest.mark.parametrize("argument", BAD)
def test_bad_argument_is_named(argument):
    error, call = BAD[argument]
    with pytest.raises(error, match=f"^{argument}"):
        call()


def test_silver_schedule_keeps_to_the_precision_at_hand():
    schedule = schedules.silver(1.0)
    assert jax.jit(schedule)(3).dtype == jnp.float64
    with jax.enable_x64(False):
        assert jax.jit(schedule)(3).dtype == jnp.float32
