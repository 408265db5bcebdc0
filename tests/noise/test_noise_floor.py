"""The level at which mini-batches hold the loss, against exact covariances."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg

import gdjax
from gdjax import batches
from gdjax.noise.response import Momentum, epoch_of, excess

RNG = np.random.default_rng(3)
CENTRES = RNG.normal(size=64)
CENTRES -= CENTRES.mean()
CURVATURE, RATE = 2.0, 0.2
RHO = 1 - RATE * CURVATURE


def bowl(x, c):
    return CURVATURE * jnp.mean((x - c) ** 2) / 2


def floor(size, replace, rate=RATE, **changes):
    drawn = batches.mini(CENTRES, size, replace=replace)
    return gdjax.noise_floor(bowl, 0.0, drawn, rate, **changes)


def variance(size, factor=1.0):
    """Return V: E x² settles there, if batches are independent."""
    return RATE * CURVATURE * CENTRES.var() / (size * (2 - RATE * CURVATURE)) * factor


@pytest.mark.long
@pytest.mark.parametrize("size", [8, 1, 64])
def test_with_replacement_the_level_is_exact(size, x64):
    found = floor(size, True, steps=13, chains=2)
    level = CURVATURE / 2 * variance(size)
    assert found.stationary.value - found.minimum == pytest.approx(level, rel=1e-12)
    after = level * (1 - RHO**26)
    assert found.predicted.value - found.minimum == pytest.approx(after, rel=1e-12)


@pytest.mark.long
def test_independent_batches_without_replacement_have_the_noise_of_a_finite_population(x64):
    found = floor(40, False, chains=2, steps=1)  # an epoch is one batch
    level = CURVATURE / 2 * variance(40, (64 - 40) / 63)
    assert found.stationary.value - found.minimum == pytest.approx(level, rel=1e-12)


@pytest.mark.long
def test_subsets_without_epochs_have_the_noise_of_a_finite_population(x64):
    drawn = batches.mini(CENTRES, 8, epochs=False)
    found = gdjax.noise_floor(bowl, 0.0, drawn, RATE, steps=13, chains=512)
    level = CURVATURE / 2 * variance(8, (64 - 8) / 63)
    assert found.stationary.value - found.minimum == pytest.approx(level, rel=1e-12)
    assert abs(found.predicted.value - found.measured.value) <= 3 * found.measured.error


@pytest.mark.long
def test_all_examples_hold_nothing_up(x64):
    found = floor(64, False, steps=7, chains=2)
    assert found.stationary.value == found.predicted.value == found.minimum
    assert found.measured.value == pytest.approx(float(found.minimum), rel=1e-14)


MOMENTA = {"none": Momentum(), "heavy ball": Momentum(0.9), "Nesterov's": Momentum(0.6, True)}


def square_after(steps, size, reach, momentum=MOMENTA["none"], pad=False):
    """Return ηλ E x² / η² from 0, by the whole covariance of the batches of shuffled epochs."""
    step, per_epoch = np.arange(steps), -(-64 // size) if pad else 64 // size
    epoch, last = step // per_epoch, step % per_epoch == per_epoch - 1
    sizes = np.where(last & pad, 64 - (per_epoch - 1) * size, size)
    covariance = -1 / 63 * (epoch[:, None] == epoch[None, :])
    covariance[step, step] = (64 - sizes) / sizes / 63
    beta, ahead = momentum.decay, momentum.nesterov
    update = np.array(
        [[1 - (1 + beta * ahead) * reach, -beta * (beta if ahead else 1)], [reach, beta]]
    )
    weight, now = np.zeros(steps), np.array([-1 - beta * ahead, 1.0])
    for later in range(steps):
        weight[steps - 1 - later], now = now[0], update @ now
    return reach * weight @ covariance @ weight


@pytest.mark.long
@pytest.mark.parametrize(
    ("size", "kind", "pad"),
    [
        (24, "Nesterov's", True),  # of each epoch the last batch has 16
        (1, "none", False),
        (40, "none", False),
        (1, "heavy ball", False),
        (24, "heavy ball", False),  # of each epoch 16 are left out
        (24, "none", True),
    ],
)
def test_shuffled_epochs_are_anticorrelated(size, kind, pad, x64):
    epoch, momentum = epoch_of(batches.mini(CENTRES, size, pad=pad)), MOMENTA[kind]
    reach = np.array([1e-3, 0.02, 0.4, 1.0, 1.4])
    flat = np.zeros(5, bool)
    for steps in (1, 5, 64, 131):
        after, settled = excess(reach, flat, epoch, steps, momentum)
        exact = [square_after(steps, size, r, momentum, pad) for r in reach]
        np.testing.assert_allclose(after, exact, rtol=1e-9, atol=1e-15)
    late = 320 // epoch.length * epoch.length + np.arange(epoch.length)
    exact = [np.mean([square_after(t, size, r, momentum, pad) for t in late]) for r in reach[2:]]
    np.testing.assert_allclose(settled[2:], exact, rtol=1e-9)


@pytest.mark.long
@pytest.mark.parametrize("reach", [1e-4, 0.3, 3.5])
def test_heavy_balls_level_is_that_of_its_lyapunov_equation(reach, x64):
    beta = 0.9
    update = np.array([[1 - reach, -beta], [reach, beta]])
    noise = np.array([[1.0, -1.0], [-1.0, 1.0]])
    settled = scipy.linalg.solve_discrete_lyapunov(update, noise)[0, 0]
    independent = epoch_of(batches.stochastic(CENTRES))
    found = excess(np.array([reach]), np.zeros(1, bool), independent, 1, Momentum(beta))[1]
    np.testing.assert_allclose(found, reach * settled, rtol=1e-9)
    np.testing.assert_allclose(found, (1 + beta) / (1 - beta) / (2 * (1 + beta) - reach), 1e-10)


@pytest.mark.long
@pytest.mark.parametrize(
    ("momentum", "most"), [(Momentum(0.5), 3.0), (Momentum(0.5, True), 1.5), (Momentum(), 2.0)]
)
def test_beyond_the_stable_rates_of_a_momentum_nothing_settles(momentum, most):
    independent = epoch_of(batches.stochastic(CENTRES))
    reach = np.array([0.999 * most, 1.001 * most])
    settled = excess(reach, np.zeros(2, bool), independent, 1, momentum)[1]
    assert np.isfinite(settled).tolist() == [True, False]


@pytest.mark.parametrize("drawn", [batches.stochastic(CENTRES), batches.mini(CENTRES, 24)])
def test_flat_directions_have_the_limit_of_small_curvatures(drawn, x64):
    epoch = epoch_of(drawn)
    limit = excess(np.zeros(1), np.ones(1, bool), epoch, 1)[1]
    near = excess(np.full(1, 1e-7), np.zeros(1, bool), epoch, 1)[1]
    np.testing.assert_allclose(limit, near, rtol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(
    "size",
    [pytest.param(1, marks=pytest.mark.long), 8, pytest.param(64, marks=pytest.mark.long)],
)
def test_predicted_level_is_the_measured_one(size, replace, x64):
    found = floor(size, replace, steps=20, chains=4096)
    assert abs(found.predicted.value - found.measured.value) <= 3 * found.measured.error + 1e-15


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.8},
        pytest.param({"momentum": 0.6, "nesterov": True}, marks=pytest.mark.long),
    ],
)
def test_predicted_level_with_momentum_is_the_measured_one(changes):
    drawn = batches.mini(CENTRES.astype(np.float32), 8, replace=True)
    found = gdjax.noise_floor(bowl, 0.0, drawn, 0.1, steps=60, chains=1024, **changes)
    assert abs(found.predicted.value - found.measured.value) <= 3 * found.measured.error
    np.testing.assert_allclose(found.predicted.value, found.stationary.value, rtol=1e-4)


@pytest.mark.long
def test_predicted_level_of_padded_batches_is_the_measured_one(x64):
    def weighted_bowl(x, batch):
        return CURVATURE * jnp.average((x - batch[0]) ** 2, weights=batch[1]) / 2

    drawn = batches.mini(CENTRES, 24, pad=True)
    found = gdjax.noise_floor(weighted_bowl, 0.0, drawn, RATE, steps=20, chains=16_384)
    assert abs(found.predicted.value - found.measured.value) <= 3 * found.measured.error


def rows(dim, examples=200):
    x = RNG.normal(size=(examples, dim)) * np.geomspace(1, 0.05, dim)
    y = x @ np.ones(dim) + RNG.normal(size=examples)
    solution = np.linalg.lstsq(x, y)[0]
    gradients = (x @ solution - y)[:, None] * x
    return x, y, solution, x.T @ x / examples, gradients.T @ gradients / examples


def regression(w, batch):
    return jnp.mean((batch[0] @ w - batch[1]) ** 2) / 2


def level_of(hessian, covariance, rate, size):
    """Return ½ tr HS, of S = (1 − ηH) S (1 − ηH) + η² C solved as a linear system."""
    dim = len(hessian)
    shrink = np.eye(dim) - rate * hessian
    system = np.eye(dim**2) - np.kron(shrink, shrink)
    settled = np.linalg.solve(system, rate**2 / size * covariance.ravel()).reshape(dim, dim)
    return np.trace(hessian @ settled) / 2


@pytest.mark.long
def test_the_stationary_covariance_solves_its_lyapunov_equation(x64):
    x, y, solution, hessian, covariance = rows(5)
    drawn = batches.mini((x, y), 4, replace=True)
    found = gdjax.noise_floor(regression, solution, drawn, 0.5, steps=1, chains=2)
    exact = level_of(hessian, covariance, 0.5, 4)
    assert found.stationary.value - found.minimum == pytest.approx(exact, rel=1e-10)


@pytest.mark.long
def test_of_many_parameters_the_level_is_within_its_error(x64):
    x, y, solution, hessian, covariance = rows(300, 600)
    values, axes = np.linalg.eigh(hessian)
    noise = np.diag(axes.T @ covariance @ axes)
    rate = 1.0 / values[-1]
    exact = rate / 2 * np.sum(noise / (2 - rate * values)) / 4
    drawn = batches.mini((x, y), 4, replace=True)
    found = gdjax.noise_floor(regression, solution, drawn, rate, steps=1, chains=2).stationary
    above = found.value - regression(solution, (x, y))
    assert abs(above - exact) < 4 * found.error
    assert found.error < 0.02 * exact


@pytest.mark.long
@pytest.mark.parametrize("rate", [1.0, 1.2])  # 2 / CURVATURE, and beyond
def test_rates_that_are_not_stable_settle_nowhere(rate):
    assert floor(8, True, rate, chains=2, steps=1).stationary.value == np.inf


@pytest.mark.long
def test_where_the_loss_falls_nothing_settles():
    def saddle(w, c):
        return jnp.mean((w[0] - c) ** 2 - (w[1] - c) ** 2)

    drawn = batches.stochastic(CENTRES.astype(np.float32))
    found = gdjax.noise_floor(saddle, jnp.zeros(2), drawn, 0.1, steps=3, chains=2)
    assert found.stationary.value == np.inf
    assert np.isfinite(found.predicted.value)


@pytest.mark.long
def test_noise_in_a_flat_direction_does_not_settle_but_costs_nothing(x64):
    def valley(w, c):
        return jnp.mean((w[0] - c) ** 2 + c * w[1]) / 2

    drawn = batches.mini(CENTRES, 1, replace=True)
    found = gdjax.noise_floor(valley, jnp.zeros(2), drawn, RATE, steps=10, chains=2)
    above = RATE * CENTRES.var() / (2 - RATE) / 2 * (1 - (1 - RATE) ** 20)
    assert found.predicted.value - found.minimum == pytest.approx(above, rel=1e-12)


REFUSED = {
    "rate": (lambda: floor(8, True, 0.0), ValueError, "learning_rate"),
    "steps": (lambda: floor(8, True, steps=0), ValueError, "steps"),
    "chains": (lambda: floor(8, True, chains=1), ValueError, "chains"),
    "order": (
        lambda: gdjax.noise_floor(bowl, 0.0, batches.mini(CENTRES, 8, shuffle=False), 0.1),
        ValueError,
        "batches",
    ),
    "an optimizer": (
        lambda: floor(8, True, optax.adam(0.1)),
        TypeError,
        "learning_rate: the level is known of gradient descent",
    ),
    "a schedule": (
        lambda: floor(8, True, optax.constant_schedule(0.1)),
        TypeError,
        "learning_rate: the level is known of gradient descent",
    ),
    "momentum": (lambda: floor(8, True, momentum=1.0), ValueError, "momentum"),
    "no momentum": (lambda: floor(8, True, momentum=-0.1), ValueError, "momentum"),
    "nesterov": (lambda: floor(8, True, nesterov="yes"), TypeError, "nesterov"),
    "a traced size": (
        lambda: jax.jit(
            lambda n: gdjax.noise_floor(bowl, 0.0, batches.mini(CENTRES, n, most=9), 0.1)
        )(3),
        TypeError,
        "batches: expected a batch size that is known",
    ),
    "no batches": (lambda: gdjax.noise_floor(bowl, 0.0, CENTRES, 0.1), TypeError, "batches"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, no_compilation):
    call, error, name = REFUSED[case]
    with pytest.raises(error, match=f"^{name}"), no_compilation():
        call()
