"""Figures that are known exactly: convergence theory, saddles, plateaus and basins."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status, landscapes

pytestmark = pytest.mark.usefixtures("x64")

MU, L = 1.0, 100.0
CURVATURES = jnp.geomspace(MU, L, 9)


def quadratic(w):
    return 0.5 * jnp.sum(CURVATURES.astype(w.dtype) * w**2)


def end(loss, start, optimizer, steps):
    return gdjax.run(Descent(loss, start, optimizer, stop=None, max_steps=steps))


# ½ Σ λ w²: gradient descent multiplies each w by 1 − η λ.


@pytest.mark.parametrize(("share", "stable"), [(0.999, True), (1.001, False)])
def test_quadratic_is_stable_up_to_two_over_the_largest_curvature(share, stable):
    d = Descent(quadratic, jnp.ones(9), optax.sgd(share * 2 / L), max_steps=1_000_000)
    expected = Status.CONVERGED if stable else Status.DIVERGED
    assert gdjax.run(d).status == expected


def test_best_constant_rate_contracts_by_kappa_minus_one_over_kappa_plus_one():
    w = end(quadratic, jnp.ones(9), optax.sgd(2 / (MU + L)), 16).params
    assert float(jnp.max(jnp.abs(w))) == pytest.approx((99 / 101) ** 16, rel=1e-12)
    assert pytest.approx(0.726141, abs=5e-7) == (99 / 101) ** 16


def test_chebyshev_schedule_reaches_its_bound():
    n = 16
    schedule = gdjax.schedules.chebyshev(MU, L, n)
    # The extremes of the residual polynomial lie between the ends: a fine comb of curvatures.
    curvatures = jnp.linspace(MU, L, 20_001)
    start = jnp.ones(20_001)
    w = end(lambda w: 0.5 * jnp.sum(curvatures * w**2), start, optax.sgd(schedule), n).params
    assert float(jnp.max(jnp.abs(w))) == pytest.approx(0.0805233, abs=5e-8)


def test_heavy_ball_contracts_every_curvature_by_nine_elevenths():
    rate, momentum = 4 / (L**0.5 + MU**0.5) ** 2, ((10 - 1) / (10 + 1)) ** 2
    optimizer = optax.sgd(rate, momentum=momentum)

    def carried(w):  # one step from w with momentum w -> (w', momentum')
        d = Descent(quadratic, w[0], optimizer, stop=None)
        state = gdjax.init(d)
        trace = optax.tree.set(state.opt_state, trace=w[1])
        after = gdjax.step(d, state._replace(opt_state=trace))
        return after.params, optax.tree.get(after.opt_state, "trace")

    zero = jnp.zeros(9)
    dw = jax.jacfwd(carried)((zero, zero))
    for i in range(9):
        step = np.array([[dw[a][b][i, i] for b in (0, 1)] for a in (0, 1)])
        radius = np.abs(np.linalg.eigvals(step)).max()
        assert radius == pytest.approx(9 / 11, abs=1e-6)


def zigzag(k):
    def loss(w):
        return 0.5 * (w[0] ** 2 + 10 * w[1] ** 2)

    return end(loss, jnp.array([10.0, 1.0]), gdjax.transforms.exact_line_search(), k).params


@pytest.mark.parametrize("k", [1, 5, 20])
def test_exact_line_search_zigzags_as_in_boyd_and_vandenberghe(k):
    np.testing.assert_allclose(zigzag(k), [10 * (9 / 11) ** k, (-9 / 11) ** k], rtol=1e-9)


def test_zigzag_after_twenty_steps_is_the_published_figure():
    np.testing.assert_allclose(zigzag(20), [0.18071595, 0.01807160], atol=5e-9)


@pytest.mark.parametrize(
    ("start", "first", "last"), [((0.6, 0.9), 0.8176, 0.0940), ((2.0, 2.0), 0.9820, 0.2028)]
)
def test_sigmoid_neuron_learns_as_slowly_as_nielsen_shows(start, first, last):
    def output(params):
        return jax.nn.sigmoid(params["w"] * 1.0 + params["b"])

    start = dict(zip("wb", start))
    result = end(lambda params: 0.5 * output(params) ** 2, start, optax.sgd(0.15), 300)
    assert float(output(jax.tree.map(jnp.asarray, start))) == pytest.approx(first, abs=5e-5)
    assert float(output(result.params)) == pytest.approx(last, abs=5e-5)


@pytest.mark.parametrize(("mode", "theory"), [(0, 1.3343), (1, 1.9001), (2, 3.4534)])
def test_each_mode_of_a_deep_linear_net_leaves_its_plateau_when_saxe_says(mode, theory):
    strengths, first, rate = np.array([3.0, 2.0, 1.0]), 1e-3, 1e-3
    exact = np.log((strengths - first) / first) / (2 * strengths)
    assert exact[mode] == pytest.approx(theory, abs=5e-5)
    left, right, hidden = (
        np.linalg.qr(np.random.default_rng(i).normal(size=(3, 3)))[0] for i in (0, 1, 2)
    )
    target = left @ np.diag(strengths) @ right.T

    def loss(w):
        return jnp.sum((target - w[1] @ w[0]) ** 2) / 2

    def strength(state):
        return jnp.diag(left.T @ state.params[1] @ state.params[0] @ right)

    start = first**0.5 * jnp.stack([hidden @ right.T, left @ hidden.T])
    every = gdjax.record.every(1, strength)
    d = Descent(loss, start, optax.sgd(rate), stop=None, max_steps=4000, record=every)
    half = np.argmax(np.asarray(gdjax.run(d).record.values) >= strengths / 2, axis=0)
    assert half[mode] * rate == pytest.approx(exact[mode], rel=0.01)


def strict_saddle(w):
    return 0.5 * w[0] ** 2 + 0.25 * w[1] ** 4 - 0.5 * w[1] ** 2


@pytest.mark.long
def test_no_random_start_ends_at_a_strict_saddle():
    runs = gdjax.sweep(
        lambda start: Descent(strict_saddle, start, optax.sgd(0.1)),
        start=gdjax.uniform(jax.random.key(0), [(-2, 2), (-2, 2)], 1000),
    )
    assert (runs.status == Status.CONVERGED).all()
    np.testing.assert_allclose(np.abs(runs.params), np.tile([0.0, 1.0], (1000, 1)), atol=1e-6)


def test_every_start_on_the_stable_manifold_ends_at_the_saddle():
    starts = np.stack([np.linspace(-2, 2, 101), np.zeros(101)], axis=1)
    runs = gdjax.sweep(lambda start: Descent(strict_saddle, start, optax.sgd(0.1)), start=starts)
    np.testing.assert_allclose(runs.params, np.zeros((101, 2)), atol=1e-6)


def test_escape_from_a_saddle_takes_the_logarithm_of_the_distance():
    d = Descent(
        lambda w: 0.5 * (w[0] ** 2 - w[1] ** 2),
        jnp.array([0.0, 1e-8]),
        optax.sgd(0.1),
        stop=gdjax.stop.loss_below(-0.5),
    )
    assert gdjax.run(d).steps == 194 == np.ceil(np.log(1e8) / np.log(1.1))


def test_himmelblaus_maximum_is_known():
    assert float(landscapes.himmelblau(landscapes.himmelblau.maxima[0])) == pytest.approx(
        181.6165, abs=5e-5
    )


@pytest.mark.long
def test_muller_browns_minima_are_reached_by_descent():
    landscape = landscapes.muller_brown
    runs = gdjax.sweep(
        lambda start: Descent(landscape, start, optax.sgd(2e-4), max_steps=100_000),
        start=gdjax.grid((-1.5, 1.2, 30), (-0.5, 2, 30)),
    )
    attractors = gdjax.map_basins(runs).attractors
    np.testing.assert_allclose(attractors.loss, [-146.6995, -108.1667, -80.7678], atol=5e-5)


@pytest.mark.long
def test_six_hump_camels_lowest_minima_are_reached_by_descent():
    landscape = landscapes.six_hump_camel
    runs = gdjax.sweep(
        lambda start: Descent(landscape, start, optax.sgd(0.01)),
        start=gdjax.grid((-3, 3, 40), (-2, 2, 40)),
    )
    attractors = gdjax.map_basins(runs).attractors
    assert len(attractors.loss) == 6
    np.testing.assert_allclose(attractors.loss[:2], [-1.031628, -1.031628], atol=5e-7)


def test_separable_logistic_regression_falls_as_one_over_the_squared_margin():
    # Soudry et al. 2018; the support vectors (.5, 1.5) and (1.5, .5), each twice: 1/γ² = 1/2.
    x = jnp.array([[0.5, 1.5], [1.5, 0.5]] * 2)
    rate, steps = 1 / float(jnp.linalg.norm(x, 2)) ** 2, 100_000

    def loss(w):
        return jnp.sum(jax.nn.softplus(-x @ w))

    reached = end(loss, jnp.zeros(2), optax.sgd(rate), steps)
    assert float(rate * steps * reached.loss) == pytest.approx(0.50002, abs=5e-6)
