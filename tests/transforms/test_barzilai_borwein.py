import jax.numpy as jnp
import numpy as np
import pytest

import gdjax
from gdjax import Descent
from gdjax.transforms import barzilai_borwein, exact_line_search

pytestmark = pytest.mark.usefixtures("x64")


def quadratic(curvatures):
    return lambda w: 0.5 * jnp.sum(jnp.asarray(curvatures) * w**2)


def path(loss, start, optimizer, steps):
    record = {
        "w": gdjax.record.every(1, lambda state: state.params),
        "g": gdjax.record.every(1, lambda state: state.grad),
    }
    d = Descent(loss, jnp.array(start), optimizer, stop=None, max_steps=steps, record=record)
    record = gdjax.run(d).record
    return np.asarray(record["w"].values), np.asarray(record["g"].values)


def rates(w, g):
    """Return the step size of each step."""
    return np.sum((w[:-1] - w[1:]) * g[:-1], axis=1) / np.sum(g[:-1] ** 2, axis=1)


@pytest.mark.parametrize("kind", ["long", "short"])
def test_steps_are_the_best_ones_for_the_gradient_before(kind):
    curvatures = np.array([1.0, 5.0, 20.0])
    w, g = path(quadratic(curvatures), [3.0, -1.0, 0.5], barzilai_borwein(0.01, kind), 12)
    bent = curvatures * g[:-2]
    if kind == "long":  # what an exact line search takes
        best = np.sum(g[:-2] ** 2, axis=1) / np.sum(g[:-2] * bent, axis=1)
    else:  # what makes the next gradient the least
        best = np.sum(g[:-2] * bent, axis=1) / np.sum(bent**2, axis=1)
    assert rates(w, g)[0] == pytest.approx(0.01)
    np.testing.assert_allclose(rates(w, g)[1:], best, rtol=1e-7)


@pytest.mark.parametrize("kind", ["long", "short"])
def test_two_dimensions_converge_faster_than_linearly(kind):
    _, g = path(quadratic([1.0, 10.0]), [10.0, 1.0], barzilai_borwein(0.03, kind), 40)
    size = np.linalg.norm(g, axis=1)
    first, second = np.argmax(size < 1e-15), np.argmax(size < 1e-45)
    assert 0 < second < 2 * first  # three times the digits in less than twice the steps


def test_zigzag_of_the_exact_line_search_is_left_within_a_fifth_of_its_steps():
    def steps(optimizer):
        stop = gdjax.stop.gradient_below(1e-10)
        d = Descent(quadratic([1.0, 10.0]), jnp.array([10.0, 1.0]), optimizer, stop=stop)
        return int(gdjax.run(d).steps)

    zigzag = int(np.ceil(np.log(10 / 1e-10) / np.log(11 / 9)))  # 10 (9/11)^k
    assert steps(exact_line_search()) == zigzag
    assert steps(barzilai_borwein(0.03)) <= zigzag / 5


def test_negative_curvature_gives_the_ratio_of_step_and_change():
    w, g = path(
        lambda w: -0.5 * jnp.sum(w * jnp.array([1.0, 3.0]) * w),
        [1.0, 1.0],
        barzilai_borwein(0.1),
        2,
    )
    ratio = np.linalg.norm(w[1] - w[0]) / np.linalg.norm(g[1] - g[0])
    assert rates(w, g)[1] == pytest.approx(ratio, rel=1e-12)


def test_a_slope_without_curvature_keeps_the_rate():
    w, g = path(jnp.sum, [1.0, 1.0], barzilai_borwein(0.1), 5)
    np.testing.assert_allclose(rates(w, g), np.full(5, 0.1), rtol=1e-12)


def test_step_size_is_at_most_the_largest():
    w, g = path(quadratic([1.0, 100.0]), [1.0, 1.0], barzilai_borwein(1e-3, "long", 0.02), 30)
    assert rates(w, g).max() == pytest.approx(0.02)


def test_rosenbrocks_valley_is_followed_to_its_end():
    start = jnp.array([-1.2, 1.0])
    d = Descent(gdjax.landscapes.rosenbrock, start, barzilai_borwein(1e-3), max_steps=500)
    np.testing.assert_allclose(gdjax.run(d).params, [1.0, 1.0], atol=1e-5)
