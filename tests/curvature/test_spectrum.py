import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax import curvature


def diagonal(w, eigenvalues):
    return jnp.sum(eigenvalues * w**2) / 2


def rotated(w, eigenvalues):
    """The same spectrum in another basis, since random signs are exact for a diagonal matrix."""
    mirror = jnp.cos(jnp.arange(w.size, dtype=w.dtype) ** 2)
    mirror = mirror / jnp.linalg.norm(mirror)
    return diagonal(w - 2 * jnp.vdot(mirror, w) * mirror, eigenvalues)


SPECTRUM = jnp.concatenate([jnp.linspace(-1, 1, 395), jnp.array([5.0, 8.0, 10.0, 20.0, -4.0])])
PARAMS = jnp.zeros(400)


def test_few_parameters_have_their_exact_distribution():
    found = curvature.spectral_density(diagonal, jnp.zeros(3), jnp.array([3.0, 1.0, 2.0]))
    np.testing.assert_allclose(found.nodes, [[1, 2, 3]], rtol=1e-6)
    assert found.mean(lambda x: x).error == 0


@pytest.mark.long
def test_means_over_the_spectrum_are_within_their_errors():
    found = curvature.spectral_density(rotated, PARAMS, SPECTRUM, probes=20)
    for function in (jnp.square, jnp.abs, jnp.exp):
        mean = found.mean(function)
        assert abs(mean.value - jnp.mean(function(SPECTRUM))) < 4 * mean.error
        assert mean.error < 0.5 * abs(mean.value)


@pytest.mark.long
def test_the_density_has_its_peaks_and_integral_1():
    found = curvature.spectral_density(rotated, PARAMS, SPECTRUM, probes=20)
    at = jnp.linspace(-10, 30, 400)
    density = found.density(at, 0.3)
    np.testing.assert_allclose(jnp.sum(density.value) * (at[1] - at[0]), 1, rtol=1e-4)
    width = 0.3
    true = jnp.mean(jax.scipy.stats.norm.pdf(at[:, None], SPECTRUM[None], width), axis=1)
    assert jnp.max(jnp.abs(density.value - true)) < 4 * jnp.max(density.error)
    assert jnp.max(density.error) < 0.1 * jnp.max(true)


def test_probes_of_a_zero_hessian_are_all_zero():
    found = curvature.spectral_density(rotated, PARAMS, jnp.zeros(400), probes=20)
    assert found.mean(jnp.abs) == (0, 0)


def test_a_spectrum_that_is_not_finite_is_nan():
    found = curvature.spectral_density(rotated, PARAMS, SPECTRUM.at[0].set(jnp.nan), probes=20)
    assert np.all(np.isnan(found.mean(jnp.abs)))


def test_the_trace_of_few_parameters_is_exact():
    found = curvature.trace(diagonal, jnp.zeros(3), jnp.array([3.0, 1.0, 2.0]))
    assert found.value == 6
    assert found.error < 1e-5


def test_the_error_of_a_trace_covers_products_that_cancel(x64):
    random = np.random.default_rng(0)
    features, w = random.normal(size=(1000, 20)) + 3, 0.1 * random.normal(size=20)

    def found(dtype):
        own, rows = jnp.asarray(w, dtype), jnp.asarray(features, dtype)
        return curvature.trace(lambda w, rows: jax.nn.logsumexp(rows @ w), own, rows)

    single, double = found(jnp.float32), found(jnp.float64)
    off = abs(single.value - double.value)
    assert 0.01 * single.error < off < single.error


@pytest.mark.long
def test_the_standard_errors_of_traces_are_standard():
    keys = jax.random.split(jax.random.key(0), 100)
    one = jax.jit(lambda key: curvature.trace(rotated, PARAMS, SPECTRUM, probes=60, key=key))
    found = jax.lax.map(one, keys)
    within = jnp.abs(found.value - jnp.sum(SPECTRUM)) < found.error
    # 68% within one standard error, a little less as it is estimated from 20 samples.
    assert 0.55 < jnp.mean(within) < 0.8


def test_the_trace_of_low_rank_has_no_error():
    low_rank = jnp.zeros(400).at[:5].set(jnp.array([1.0, 2.0, 3.0, 100.0, -5.0]))
    found = curvature.trace(rotated, PARAMS, low_rank)
    np.testing.assert_allclose(found.value, 101, rtol=1e-5)
    assert found.error < 1e-3


@pytest.mark.parametrize("eigenvalue", [0.0, jnp.nan])
def test_a_trace_of_nothing_and_of_nan(eigenvalue):
    found = curvature.trace(rotated, PARAMS, jnp.full(400, eigenvalue))
    np.testing.assert_array_equal(found, (eigenvalue, eigenvalue))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: curvature.trace(diagonal, PARAMS, SPECTRUM, probes=5), "probes: "),
        (lambda: curvature.spectral_density(diagonal, PARAMS, SPECTRUM, probes=1), "probes: "),
        (lambda: curvature.spectral_density(diagonal, {}, SPECTRUM), "params: "),
    ],
)
def test_bad_options_are_refused(call, named):
    with pytest.raises(ValueError, match=named):
        call()


POINTS = curvature.SpectralDensity(jnp.ones((1, 1)), jnp.ones((1, 1)))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: POINTS.mean(3), "function: "),
        (lambda: POINTS.density("a", 1.0), "at: "),
        (lambda: POINTS.density(1.0, 1.0), "at: "),
        (lambda: POINTS.density([1.0], 0.0), "width: "),
        (lambda: POINTS.density([1.0], None), "width: "),
    ],
)
def test_bad_arguments_of_a_density_are_refused(call, named):
    with pytest.raises((TypeError, ValueError), match=f"^{named}"):
        call()
