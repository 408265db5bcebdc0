"""How many critical points there are of each kind, where that is known exactly."""

from itertools import product
from math import comb, pi, sqrt

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Verdict


@pytest.mark.long
def test_separable_double_well_has_3_to_the_d_critical_points_with_binomial_indices():
    dim = 3
    points = np.array(list(product([-1.0, 0.0, 1.0], repeat=dim)))
    runs = gdjax.sweep(
        lambda start: Descent(lambda w: jnp.sum((w**2 - 1) ** 2), start, optax.sgd(0.01)),
        start=points,
        diagnose=True,
    )
    found = runs.diagnosis
    counts = [comb(dim, j) * 2 ** (dim - j) for j in range(dim + 1)]
    assert sum(counts) == 3**dim == runs.loss.size
    np.testing.assert_array_equal(np.bincount(found.index), counts)
    expected = np.select(
        [found.index == 0, found.index == dim], [Verdict.MINIMUM, Verdict.MAXIMUM], Verdict.SADDLE
    )
    np.testing.assert_array_equal(found.verdict, expected)


# P(all eigenvalues > 0) of the Gaussian orthogonal ensemble: Dean and Majumdar, PRL 97, 2006.
ALL_POSITIVE = [1 / 2, (2 - sqrt(2)) / 4, (pi - 2 * sqrt(2)) / (4 * pi)]


def quadratic(w, matrix):
    return w @ matrix @ w / 2


@pytest.mark.long
def test_critical_points_of_gaussian_orthogonal_hessians_are_rarely_minima():
    lanes = 4000

    def lane(hessian, dim):
        alone = jnp.maximum(jnp.arange(3)[:, None], jnp.arange(3)[None]) < dim
        # A principal part of such a matrix is one too; the rest of the loss is a bowl.
        matrix = jnp.where(alone, hessian, jnp.eye(3))
        return Descent(
            lambda w, matrix: w @ matrix @ w / 2, jnp.zeros(3), optax.sgd(0.1), (matrix,)
        )

    entries = jax.random.normal(jax.random.key(0), (lanes, 3, 3))
    hessians = (entries + entries.mT) / 2
    runs = gdjax.sweep(lane, hessian=hessians, dim=[1, 2, 3], diagnose=True)
    minima = (runs.diagnosis.verdict == Verdict.MINIMUM).mean(axis=0)
    error = [sqrt(p * (1 - p) / lanes) for p in ALL_POSITIVE]
    assert (np.abs(minima - ALL_POSITIVE) < 3 * np.array(error)).all()
    np.testing.assert_array_equal(
        runs.diagnosis.index[:, 2], (np.linalg.eigvalsh(hessians) < 0).sum(axis=1)
    )
