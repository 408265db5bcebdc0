"""The noise of the gradient, against every example's gradient taken one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax
from gdjax import batches

RNG = np.random.default_rng(0)
ROWS = {"x": RNG.normal(size=(50, 3)), "y": RNG.normal(size=50)}
POINT = {"w": np.array([0.3, -0.2, 1.0]), "b": np.array(0.5)}


def residual(params, batch):
    return batch["x"] @ params["w"] + params["b"] - batch["y"]


def square(params, batch):
    return jnp.mean(residual(params, batch) ** 2) / 2


def one_by_one(rows=ROWS):
    """Return the gradients [examples, dim] of `square` at POINT, and its Hessian."""
    slopes = np.column_stack([np.ones(len(rows["y"])), rows["x"]])
    return residual(POINT, rows)[:, None] * slopes, slopes.T @ slopes / len(slopes)


def figures(gradients, hessian, count=np.inf):
    """Return |G|², tr Σ and both ratios, without bias for a sample of more if count is given."""
    mean, covariance = gradients.mean(0), np.cov(gradients.T, ddof=int(np.isfinite(count)))
    squares = [mean @ m @ mean - np.trace(m @ covariance) / count for m in (np.eye(4), hessian)]
    spreads = [np.trace(m @ covariance) for m in (np.eye(4), hessian)]
    return squares[0], spreads[0], spreads[0] / squares[0], spreads[1] / squares[1]


def of(noise):
    names = "gradient_square", "variance", "noise_scale", "critical_batch_size"
    return [getattr(noise, name) for name in names]


@pytest.mark.parametrize("sample", [False, True])
def test_figures_are_those_of_all_gradients(sample, x64):
    noise = gdjax.gradient_noise(square, POINT, batches.full(ROWS), sample=sample)
    expected = figures(*one_by_one(), 50 if sample else np.inf)
    np.testing.assert_allclose([e.value for e in of(noise)], expected, rtol=1e-12)


def test_data_that_are_all_there_are_leave_the_error_of_rounding(x64):
    noise = gdjax.gradient_noise(square, POINT, batches.full(ROWS))
    assert all(0 < e.error < 1e-13 * e.value for e in of(noise))


@pytest.mark.long
@pytest.mark.parametrize(
    ("size", "how"),
    [(1, {"replace": True}), (8, {"replace": True}), (8, {}), (8, {"epochs": False})],
)
def test_variance_of_a_batch_is_that_over_many_batches(size, how):
    drawn = batches.mini(ROWS, size, **how)
    keys = jax.random.split(jax.random.key(1), 20_000)
    gradients = jax.vmap(lambda key: jax.grad(square)(POINT, drawn.at(key, 0)))(keys)
    flat = np.concatenate([gradients["b"][:, None], gradients["w"]], axis=1)
    variance = gdjax.gradient_noise(square, POINT, drawn).batch_variance.value
    squares = np.sum((flat - one_by_one()[0].mean(0)) ** 2, axis=1)
    assert abs(squares.mean() - variance) < 3 * squares.std() / 20_000**0.5


def test_all_examples_in_one_batch_have_no_variance():
    noise = gdjax.gradient_noise(square, POINT, batches.full(ROWS))
    assert noise.batch_variance.value == 0


@pytest.mark.long
def test_samples_are_without_bias_and_as_far_off_as_their_errors_say(x64):
    # Of two sizes, so that the Hessian of a sample is off as well.
    sizes = RNG.choice([0.5, 2.0], size=(200_000, 1))
    many = {"x": RNG.normal(size=(200_000, 3)) * sizes, "y": RNG.normal(size=200_000)}
    parts = jax.tree.map(lambda leaf: leaf.reshape(400, 500, *leaf.shape[1:]), many)

    @jax.jit
    @jax.vmap
    def sampled(part):
        return of(gdjax.gradient_noise(square, POINT, batches.full(part), sample=True))

    found = sampled(parts)
    truth = figures(*one_by_one(many))
    for estimate, exact in zip(found[:2], truth):
        spread = float(np.std(estimate.value))
        assert abs(np.mean(estimate.value) - exact) < 4 * spread / 20
        assert np.mean(estimate.error) == pytest.approx(spread, rel=0.15)
    for ratio, exact in zip(found[2:], truth[2:]):  # without bias for many examples only
        assert np.mean(ratio.error) == pytest.approx(float(np.std(ratio.value)), rel=0.15)
        assert np.mean(abs(ratio.value - exact) < 3 * ratio.error) > 0.97


def test_where_the_gradient_is_0_no_batch_is_large_enough():
    centres = jnp.array([-1.0, 1.0])
    noise = gdjax.gradient_noise(lambda w, c: jnp.mean((w - c) ** 2), 0.0, batches.full(centres))
    assert noise.noise_scale.value == noise.critical_batch_size.value == np.inf


def test_along_negative_curvature_there_is_no_critical_batch_size():
    centres = jnp.array([-1.0, 2.0])
    noise = gdjax.gradient_noise(lambda w, c: -jnp.mean((w - c) ** 2), 0.0, batches.full(centres))
    assert np.isnan(noise.critical_batch_size.value)
    assert noise.noise_scale.value == pytest.approx(9.0)


def test_of_many_parameters_the_metric_of_the_hessian_is_sampled(x64):
    x = RNG.normal(size=(400, 300)) * np.geomspace(1, 0.1, 300)
    y = RNG.normal(size=400)
    point = RNG.normal(size=300) / 10

    def loss(w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2) / 2

    gradients = (x @ point - y)[:, None] * x
    mean, hessian = gradients.mean(0), x.T @ x / 400
    exact = np.trace(hessian @ np.cov(gradients.T, ddof=0)) / (mean @ hessian @ mean)
    drawn = batches.full((x, y))
    found = [
        gdjax.gradient_noise(loss, point, drawn, key=jax.random.key(i)).critical_batch_size
        for i in range(20)
    ]
    off = np.array([(e.value - exact) / e.error for e in found])
    assert 0.5 < np.sqrt(np.mean(off**2)) < 1.6
    noise = gdjax.gradient_noise(loss, point, drawn)
    assert noise.variance.value == pytest.approx(np.sum(gradients.var(0)), rel=1e-12)


def test_further_arguments_come_before_the_batch():
    def scaled(w, scale, batch):
        return scale * jnp.mean((w - batch) ** 2) / 2

    noise = gdjax.gradient_noise(scaled, 3.0, batches.full(jnp.array([-1.0, 1.0])), 2.0)
    assert noise.variance.value == pytest.approx(4.0)


REFUSED = {
    "no batches": (lambda: gdjax.gradient_noise(square, POINT, ROWS), TypeError, "batches"),
    "no loss": (lambda: gdjax.gradient_noise(3.0, POINT, batches.full(ROWS)), TypeError, "loss"),
    "no parameters": (
        lambda: gdjax.gradient_noise(square, {}, batches.full(ROWS)),
        ValueError,
        "params",
    ),
    "a sample of one": (
        lambda: gdjax.gradient_noise(square, POINT, batches.full(np.ones(1)), sample=True),
        ValueError,
        "batches",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, no_compilation):
    call, error, name = REFUSED[case]
    with pytest.raises(error, match=f"^{name}: "), no_compilation():
        call()


def weighted(params, batch):
    rows, weights = batch
    return jnp.average(residual(params, rows) ** 2, weights=weights) / 2


@pytest.mark.long
def test_noise_of_a_swept_size_is_that_of_the_size(x64):
    plain = gdjax.gradient_noise(square, POINT, batches.mini(ROWS, 8))
    swept = gdjax.gradient_noise(weighted, POINT, batches.mini(ROWS, 8, most=20))
    for one, other in zip(plain, swept):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-6)


def test_variance_of_padded_batches_is_the_mean_over_an_epoch(x64):
    padded = gdjax.gradient_noise(weighted, POINT, batches.mini(ROWS, 8, pad=True))
    of_8, of_2 = 42 / 49 / 8, 48 / 49 / 2  # six batches, and a last one
    np.testing.assert_allclose(padded.variance.value, figures(*one_by_one())[1], rtol=1e-12)
    share = padded.batch_variance.value / padded.variance.value
    np.testing.assert_allclose(share, (6 * of_8 + of_2) / 7, rtol=1e-12)
