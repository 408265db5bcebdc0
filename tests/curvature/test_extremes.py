"""Extreme eigenvalues, on spectra that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax import curvature
from gdjax.curvature.extremes import _extremes, _krylov, steps_for
from gdjax.trees import real_vector

REPEATS = 20
SPECTRA = {
    "normal": lambda r, n: r.standard_normal(n),
    "all decades": lambda r, n: np.geomspace(1e-6, 1, n),
    "cluster": lambda r, n: 1 + 1e-3 * r.uniform(size=n),
    "repeated ends": lambda r, n: np.resize([2.0, -1.0, *r.uniform(-1, 2, n // 3)], n),
    "low end tiny": lambda r, n: np.array([-1e-3, *np.geomspace(1e-2, 100, n - 1)]),
    "low rank": lambda r, n: np.concatenate([r.uniform(1, 10, 2), np.zeros(n - 2)]),
    "close pair": lambda r, n: np.array([1.0, 0.999, *np.linspace(-1, 0.99, n - 2)]),
    "zero": lambda r, n: np.zeros(n),
    "negative": lambda r, n: -r.uniform(1, 2, n),
    "small": lambda r, n: 1e-20 * r.standard_normal(n),
    "large": lambda r, n: 1e20 * r.standard_normal(n),
}


def mirrored(vector):
    """The vector in another orthonormal basis."""
    normal = jnp.cos(jnp.arange(1, vector.size + 1, dtype=vector.dtype) ** 2)
    normal = normal / jnp.linalg.norm(normal)
    return vector - 2 * jnp.vdot(normal, vector) * normal


def diagonal(w, eigenvalues):
    return jnp.sum(eigenvalues * w**2) / 2


def full(w, eigenvalues):
    return diagonal(mirrored(w), eigenvalues)


def assert_within(found, error, true):
    """The errors are bounds, but for the basis, which is rounded as well."""
    scale = np.abs(true).max(-1, keepdims=True)
    assert np.all(np.abs(found - true[..., : found.shape[-1]]) <= error + 3e-7 * scale)


@pytest.mark.long
@pytest.mark.parametrize(
    ("dim", "k", "steps"), [(40, 2, 12), pytest.param(120, 1, 40, marks=pytest.mark.long)]
)
def test_errors_of_lanczos_are_bounds(dim, k, steps):
    @jax.jit
    @jax.vmap
    def ends(eigenvalues, key):
        def product(vector):
            return mirrored(eigenvalues * mirrored(vector))

        return _krylov(product, eigenvalues, key, k, steps)

    random = np.random.default_rng(0)
    cases = [np.sort(draw(random, dim)) for draw in SPECTRA.values() for _ in range(REPEATS)]
    true = np.array(cases, np.float32)
    high, low = ends(true, jax.random.split(jax.random.key(0), len(cases)))
    assert_within(high.values, high.errors, true[:, ::-1])
    assert_within(-low.values, low.errors, true)


@pytest.mark.long
@pytest.mark.parametrize("dim", [1, 2, 3, 100, pytest.param(300, marks=pytest.mark.long)])
def test_errors_of_extremes_are_bounds_in_any_dimension(dim):
    true = np.sort(np.random.default_rng(dim).standard_normal(dim))
    found = curvature.extremes(full, jnp.ones(dim), jnp.array(true), k=min(dim, 3))
    assert_within(found.high, found.high_error, true[::-1])
    assert_within(found.low, found.low_error, true)
    assert np.all(found.high_error <= 1e-4 * np.abs(true).max())


@pytest.mark.long
def test_eigenvectors_are_those_of_their_eigenvalues():
    params = {"a": jnp.zeros((3, 50), jnp.complex64), "b": jnp.zeros(103)}
    eigenvalues = jnp.concatenate([jnp.array([9.0, 8.0]), jnp.linspace(-1, 1, 400), -jnp.ones(1)])

    def loss(w):
        return full(real_vector(w)[0], eigenvalues)

    found = curvature.extremes(loss, params, k=2)
    assert found.high_vectors["a"].shape == (2, 3, 50)
    assert found.high_vectors["a"].dtype == jnp.complex64
    np.testing.assert_allclose(found.high, [9, 8], rtol=1e-5)
    images = jax.vmap(lambda vector: curvature.hvp(loss, params, vector))(found.high_vectors)
    for image, vector in zip(jax.tree.leaves(images), jax.tree.leaves(found.high_vectors)):
        expected = jax.vmap(jnp.multiply)(found.high, vector)
        np.testing.assert_allclose(image, expected, atol=1e-5)


def of_diagonal(eigenvalues):
    """All tests below share one program for each number of eigenvalues."""
    k = min(3, len(eigenvalues))
    return curvature.extremes(diagonal, jnp.zeros(len(eigenvalues)), eigenvalues, k=k)


@pytest.mark.long
def test_repeated_eigenvalues_are_found_as_often_as_they_occur():
    ends = jnp.array([5.0, 5.0, 4.0, -3.0, -3.0])
    found = of_diagonal(jnp.concatenate([ends, jnp.linspace(0, 1, 395)]))
    np.testing.assert_allclose(found.high, [5, 5, 4], rtol=1e-5)
    np.testing.assert_allclose(found.low, [-3, -3, 0], atol=1e-4)
    assert np.all(found.high_error < 1e-4)


@pytest.mark.parametrize("dim", [1, 2, 5, pytest.param(400, marks=pytest.mark.long)])
@pytest.mark.parametrize("same", [0.0, 2.0, -3.0])
def test_multiples_of_the_identity_have_no_other_eigenvalue(dim, same):
    found = of_diagonal(jnp.full(dim, same, jnp.float32))
    np.testing.assert_allclose(found.low, np.full(min(dim, 3), same), rtol=1e-6)
    np.testing.assert_allclose(found.high, np.full(min(dim, 3), same), rtol=1e-6)
    assert np.all(found.high_error <= 1e-5 * abs(same))


@pytest.mark.parametrize("dim", [50, 256])
def test_the_error_of_lapack_grows_with_the_matrix(dim):
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))
    matrix = jnp.asarray((3 * basis) @ basis.T, jnp.float32)
    matrix = (matrix + matrix.T) / 2
    found = curvature.sharpness(lambda w, m: jnp.vdot(w, m @ w) / 2, jnp.zeros(dim), matrix)
    true = np.linalg.eigvalsh(np.asarray(matrix, float))[-1]
    assert abs(found.value - true) <= found.error < 2e-5


@pytest.mark.parametrize("dim", [1, 2, 5, pytest.param(400, marks=pytest.mark.long)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_hessian_that_is_not_finite_gives_nan(dim, bad):
    found = of_diagonal(jnp.ones(dim).at[0].set(bad))
    assert np.all(np.isnan(jnp.concatenate(found[:4])))


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_unit_of_the_loss_does_not_matter(scale):
    found = of_diagonal(scale * jnp.linspace(-1, 1, 400))
    np.testing.assert_allclose(found.high[0], scale, rtol=1e-5)
    assert found.high_error[0] < 1e-2 * scale


@pytest.mark.long
def test_vmap_of_extremes_is_a_loop_of_it():
    ends = jnp.array([1.0, 5.0, 0.0, jnp.nan])
    spectra = jnp.stack([end * jnp.linspace(-1, 1, 400) for end in ends])
    found = jax.vmap(of_diagonal)(spectra)
    alone = [of_diagonal(eigenvalues).high for eigenvalues in spectra]
    np.testing.assert_allclose(found.high, jnp.stack(alone), rtol=1e-4)
    assert np.all(np.isnan(found.high_error) == np.isnan(ends)[:, None])


@pytest.mark.long
def test_a_million_parameters_take_little_more_than_one_krylov_basis():
    shape = jax.ShapeDtypeStruct((10**6,), jnp.float32)
    steps = steps_for(10**6, None)
    lowered = _extremes.lower(diagonal, shape, (shape,), jax.random.key(0), 1, steps)
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 1.2 * 240e6


@pytest.mark.long
def test_double_precision_is_exact_to_its_own_rounding(x64):
    eigenvalues = jnp.concatenate([jnp.linspace(0, 1, 500), jnp.array([3.0, -2.0])])
    found = curvature.extremes(diagonal, jnp.zeros(502), eigenvalues)
    np.testing.assert_allclose(found.high, [3], rtol=1e-14)
    np.testing.assert_allclose(found.low, [-2], rtol=1e-14)
    assert found.high_error[0] < 1e-13


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"k": 0}, ValueError, "k: "),
        ({"k": 4}, ValueError, "k: "),
        ({"k": 1.5}, TypeError, "k: "),
        ({"max_steps": 0}, ValueError, "max_steps: "),
        ({"key": 0}, TypeError, "key: "),
    ],
)
def test_bad_options_are_refused(options, error, named):
    with pytest.raises(error, match=named):
        curvature.extremes(diagonal, jnp.zeros(3), jnp.ones(3), **options)
