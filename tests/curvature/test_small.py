import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.curvature.small import eigh

PAIRS = [
    [[2.0, 1.0], [1.0, 2.0]],
    [[1.0, -3.0], [-3.0, 7.0]],
    [[7.0, 3.0], [3.0, 1.0]],
    [[0.0, 0.0], [0.0, 0.0]],
    [[4.0, 0.0], [0.0, 4.0]],
    [[5.0, 0.0], [0.0, -4.0]],
    [[0.0, -2.0], [-2.0, 0.0]],
    [[1e30, 1e-10], [1e-10, -1e20]],
    [[1e-30, 2e-30], [2e-30, -1e-30]],
]
TRIPLES = [
    np.diag([3.0, 1.0, 2.0]),
    np.ones((3, 3)),
    np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
    np.array([[1.0, 1e-6, 0.0], [1e-6, 1.0, 1e-6], [0.0, 1e-6, 1.0]]),
    *(m + m.T for m in np.random.default_rng(0).standard_normal((50, 3, 3))),
]


@pytest.mark.parametrize("matrices", [PAIRS, TRIPLES], ids=["2", "3"])
def test_eigenvalues_are_those_of_lapack(matrices, x64):
    matrices = np.array(matrices)
    values, vectors = jax.jit(jax.vmap(eigh))(matrices)
    scale = 1e-14 * np.abs(matrices).max((1, 2))
    expected = np.linalg.eigvalsh(matrices)
    assert np.all(np.abs(values - expected) <= scale[:, None])
    images = matrices @ np.array(vectors)
    assert np.all(np.abs(images - vectors * values[:, None]) <= scale[:, None, None])
    lengths = np.swapaxes(vectors, 1, 2) @ np.array(vectors)
    np.testing.assert_allclose(
        lengths, np.broadcast_to(np.eye(lengths.shape[1]), lengths.shape), atol=1e-14
    )


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_nan_gives_nan(dim):
    values, vectors = eigh(jnp.zeros((dim, dim)).at[0, 0].set(jnp.nan))
    assert np.all(np.isnan(values))
    assert np.all(np.isnan(vectors))
