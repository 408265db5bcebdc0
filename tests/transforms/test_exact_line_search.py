import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent
from gdjax.transforms import exact_line_search

pytestmark = pytest.mark.usefixtures("x64")


def quadratic(w):
    return 0.5 * jnp.sum(jnp.array([1.0, 10.0]) * w**2)


def end(loss, optimizer, start, steps):
    d = Descent(loss, jnp.array(start), optimizer, stop=None, max_steps=steps)
    return np.asarray(gdjax.run(d).params)


@pytest.mark.parametrize("before", [optax.scale(-7.0), optax.scale(1e-9), optax.sgd(0.3)])
def test_only_the_line_of_the_updates_counts(before):
    searched = end(quadratic, optax.chain(before, exact_line_search()), [10.0, 1.0], 5)
    np.testing.assert_allclose(searched, [10 * (9 / 11) ** 5, (-9 / 11) ** 5], rtol=1e-9)


def test_the_gradient_is_orthogonal_to_the_last_step_in_any_direction():
    start = jnp.array([3.0, -2.0])
    after = end(quadratic, optax.chain(optax.adam(0.1), exact_line_search()), start, 1)
    gradient = after * np.array([1.0, 10.0])
    assert abs(gradient @ (after - start)) < 1e-12 * np.linalg.norm(gradient) * 3


@pytest.mark.parametrize(("sign", "scale"), [(1, 1.0), (-1, 1.0), (1, 0.0)])
def test_without_a_minimum_along_the_line_the_fallback_is_taken_downhill(sign, scale):
    def loss(w):
        return -0.5 * scale * jnp.sum(w**2) - jnp.sum(w)

    gradient = -scale * np.array([1.0, 2.0]) - 1
    after = end(loss, optax.chain(optax.scale(sign), exact_line_search(0.1)), [1.0, 2.0], 1)
    np.testing.assert_allclose(after, np.array([1.0, 2.0]) - 0.1 * gradient, rtol=1e-12)
