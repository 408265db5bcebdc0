import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, landscapes
from gdjax.basins import escape_radius

WELLS = jnp.array([[-1.0, -1.0], [1.0, 1.0]])
FINE = gdjax.stop.gradient_below(1e-6)  # a start where it holds at once does not return
AXES = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [3.0, 3.0], [-1.0, -1.0]])


@pytest.fixture(scope="module")
def descent():
    return Descent(landscapes.double_well, jnp.zeros(2), optax.sgd(0.1), stop=FINE)


@pytest.fixture(scope="module")
def wells(descent):
    return descent, escape_radius(descent, WELLS, 1.5, directions=AXES)


@pytest.mark.long
def test_radius_of_separable_wells_is_the_distance_to_an_axis(wells):
    never, diagonal = np.inf, np.sqrt(2)
    expected = [[1, never, 1, diagonal, never], [never, 1, never, never, diagonal]]
    np.testing.assert_allclose(wells[1].radius, expected, atol=1e-5)


@pytest.mark.long
def test_bracket_holds_the_radius_and_is_as_narrow_as_the_dtype_allows(wells):
    found = wells[1]
    inside = np.isfinite(found.high)
    width = found.high[inside] - found.low[inside]
    assert (width > 0).all()
    assert (width < 2e-6).all()
    assert (found.low[inside] <= found.radius[inside]).all()


@pytest.mark.long
def test_ray_that_never_leaves_is_bounded_below_by_the_farthest(wells):
    never = np.isinf(wells[1].high)
    assert never.sum() == 5
    assert (wells[1].low[never] == 1.5).all()


@pytest.mark.long
def test_least_and_median_are_over_the_rays(wells):
    np.testing.assert_allclose(wells[1].least, [1, 1], atol=1e-5)
    np.testing.assert_allclose(wells[1].median, [np.sqrt(2), np.inf], atol=1e-5)


@pytest.mark.long
def test_random_rays_are_bounded_by_the_nearest_border_and_depend_on_the_key_alone(wells):
    d, _ = wells
    found, again = (
        escape_radius(d, WELLS, 1.5, key=jax.random.key(seed), rays=5) for seed in (0, 0)
    )
    np.testing.assert_array_equal(found.low, again.low)
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1)
    u = found.directions
    away = np.stack([u, -u]).max(axis=2)  # a start leaves where one coordinate passes 0
    expected = np.where(away > 1 / 1.5, 1 / away, np.inf)
    np.testing.assert_allclose(found.radius, expected, rtol=1e-5)


@pytest.mark.long
def test_start_that_diverges_has_escaped():
    def hole(x):  # x^2 / 2 - x^4 / 4: beyond 1 there is no return
        return x**2 / 2 - x**4 / 4

    d = Descent(hole, 0.0, optax.sgd(0.1), stop=FINE)
    found = escape_radius(d, jnp.zeros(1), 3.0, directions=[[1.0], [-1.0]])
    np.testing.assert_allclose(found.radius, 1, atol=1e-5)


@pytest.mark.long
def test_float64_brackets_are_narrower(x64):
    d = Descent(lambda x: x**4 / 4 - x**2 / 2, 0.0, optax.sgd(0.1))
    found = escape_radius(d, jnp.array([1.0]), 1.5, directions=[[-1.0]])
    np.testing.assert_allclose(found.radius, 1, atol=2e-8)  # where the gradient is below 1.5e-8
    np.testing.assert_allclose(found.high - found.low, 1.5 / 32 / 2**20)


@pytest.mark.long
def test_first_escape_counts_where_starts_beyond_return():
    # a step from beyond √(1 + 1/0.9) leads across to the other well, and from farther back again
    d = Descent(landscapes.double_well.in_dimension(1), jnp.zeros(1), optax.sgd(0.9), stop=FINE)
    found = escape_radius(d, jnp.ones((1, 1)), 1.0, directions=[[1.0]], samples=100)
    np.testing.assert_allclose(found.radius, np.sqrt(1 + 1 / 0.9) - 1, atol=1e-5)
    far = gdjax.run(Descent(d.loss, jnp.array([1.75]), d.optimizer))
    np.testing.assert_allclose(far.params, 1, atol=1e-3)


@pytest.mark.long
def test_point_that_is_no_minimum_is_refused(wells):
    with pytest.raises(ValueError, match=r"^minima\[1\]: expected a minimum of the loss"):
        escape_radius(wells[0], jnp.array([[1.0, 1.0], [0.0, 1.0]]), 1.0, directions=AXES)


BAD = [
    ({}, ValueError, "^key: expected either a random key or directions"),
    ({"key": 3}, TypeError, "^key: expected a random key"),
    ({"directions": [[1.0]]}, ValueError, r"^directions: expected shape \[rays, 2\]"),
    ({"directions": [[0.0, 0.0]]}, ValueError, "^directions: expected vectors of finite length"),
    ({"directions": AXES, "farthest": 0.0}, ValueError, "^farthest: expected a number above 0"),
    ({"directions": AXES, "samples": 0}, ValueError, "^samples: expected a whole number"),
    ({"directions": AXES, "minima": jnp.ones(2)}, TypeError, r"^minima\[0\]: expected float32"),
    ({"directions": AXES, "minima": jnp.ones((0, 2))}, ValueError, "^minima: expected leaves"),
]


@pytest.mark.parametrize(("keywords", "error", "message"), BAD)
def test_bad_input_is_refused(descent, keywords, error, message):
    with pytest.raises(error, match=message):
        escape_radius(descent, **({"minima": WELLS, "farthest": 1.5} | keywords))


def test_what_is_no_descent_is_refused():
    with pytest.raises(TypeError, match=r"^d: expected a gdjax.Descent"):
        escape_radius(landscapes.himmelblau, WELLS, 1.0, directions=AXES)


@pytest.mark.long
def test_minima_of_a_map_are_taken_as_they_are():
    runs = gdjax.sweep(
        lambda start: Descent(landscapes.double_well, start, optax.sgd(0.1), stop=FINE),
        start=gdjax.grid(x=(-2, 2, 6), y=(-2, 2, 6)),
    )
    minima = gdjax.map_basins(runs).attractors.params
    found = escape_radius(runs.descent(0, 0), minima, 1.2, directions=[[1.0, 0.0]])
    np.testing.assert_allclose(found.radius[:, 0], [1, 1, np.inf, np.inf], atol=1e-5)
