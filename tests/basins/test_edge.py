import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, landscapes
from gdjax.basins import EdgeStatus, edge


def tilted_wells(x):
    """A double well in each coordinate: saddles and barriers are known, and all differ."""
    heights = jnp.arange(1.0, x.size + 1.0, dtype=x.dtype)
    return jnp.sum(heights * (x**2 - 1) ** 2)


def three_valleys(x):
    """Minima at angles of 60°, 180° and 300°, and between them one degenerate saddle, at 0."""
    return landscapes.monkey_saddle(x) + jnp.sum(x**2) ** 2


def ring(x):
    return (jnp.sum(x**2) - 1) ** 2


WELLS = Descent(tilted_wells, jnp.zeros(2), optax.sgd(0.01))
LOSSES = [
    landscapes.muller_brown,
    landscapes.himmelblau,
    landscapes.six_hump_camel,
    landscapes.monkey_saddle,
    landscapes.double_well,
    tilted_wells,
    three_valleys,
    ring,
]


def any_of_them(x, number):
    return jax.lax.switch(number, LOSSES, x)


@jax.jit
def compiled_once(number, rate, tol, one, other):
    stop = gdjax.stop.gradient_below(tol)
    d = Descent(any_of_them, jnp.zeros(2), optax.sgd(rate), (number,), stop=stop)
    return edge(d, one, other)


def between(loss, one, other, tol=None):
    rate = 2e-4 if loss is landscapes.muller_brown else 0.01
    tol = jnp.finfo(float).eps ** 0.5 if tol is None else tol
    return compiled_once(LOSSES.index(loss), rate, tol, jnp.array(one), jnp.array(other))


def status_name(found):
    return EdgeStatus(int(found.status)).name


@pytest.mark.parametrize(
    ("name", "one", "other", "number"),
    [
        pytest.param("muller_brown", (-0.6, 1.4), (0.0, 0.4), 1, marks=pytest.mark.long),
        pytest.param("muller_brown", (0.6, 0.1), (0.0, 0.4), 0, marks=pytest.mark.long),
        pytest.param("himmelblau", (3.0, 3.0), (-3.0, 3.0), 1, marks=pytest.mark.long),
        pytest.param("himmelblau", (3.5, 3.0), (4.0, -2.5), 0, marks=pytest.mark.long),
        pytest.param("six_hump_camel", (0.3, -0.6), (-0.1, 0.4), 0, marks=pytest.mark.long),
    ],
)
def test_saddle_on_the_border_is_the_known_one(name, one, other, number):
    landscape = landscapes.get(name)
    found, saddle = between(landscape, one, other), landscape.saddles[number]
    assert (status_name(found), int(found.index)) == ("SADDLE", 1)
    distance = np.linalg.norm(np.asarray(found.params, float) - saddle)
    width = np.ptp(landscape.domain)
    assert distance <= found.error <= 1e-5 * width
    with jax.enable_x64(True):
        exact = float(landscape(jnp.array(saddle)))
    assert abs(float(found.loss) - exact) <= found.loss_error <= 1e-4


@pytest.mark.long
def test_float64_polishes_to_its_own_rounding(x64):
    found = between(landscapes.muller_brown, (-0.6, 1.4), (0.0, 0.4))
    assert np.linalg.norm(found.params - landscapes.muller_brown.saddles[1]) <= 1e-14
    assert found.error <= 1e-14
    exact = [-146.6995172099540137, -80.7678181296590282]  # computed apart, in 60 digits
    np.testing.assert_allclose(found.minima_loss, exact, rtol=1e-14)
    np.testing.assert_allclose(found.barriers, -40.6648435086574043 - np.array(exact), rtol=1e-13)


@pytest.mark.long
def test_minima_come_in_the_order_of_the_starts():
    low, high = (-0.9, 1.1), (1.2, 0.8)
    there, back = between(tilted_wells, low, high), between(tilted_wells, high, low)
    np.testing.assert_allclose(there.minima, [[-1, 1], [1, 1]], atol=1e-6)
    np.testing.assert_allclose(back.minima, [[1, 1], [-1, 1]], atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("axis", range(3))
def test_barrier_of_separable_wells_is_that_of_one(axis):
    d, start = Descent(tilted_wells, jnp.zeros(3), WELLS.optimizer), jnp.array([0.8, -0.9, 1.3])
    other = jnp.array([1.1, -0.7, 0.9]).at[axis].multiply(-1)
    found = edge(d, start, other)
    expected = jnp.array([1.0, -1.0, 1.0]).at[axis].set(0)
    assert found.status == EdgeStatus.SADDLE
    np.testing.assert_allclose(found.params, expected, atol=1e-6)
    np.testing.assert_allclose(found.barriers, axis + 1.0, rtol=1e-6)
    curvatures = np.sort(np.where(np.arange(3) == axis, -4.0, 8.0) * np.arange(1, 4))
    np.testing.assert_allclose(found.curvatures, curvatures, atol=float(found.curvature_error))


@pytest.mark.parametrize(
    ("loss", "one", "other", "status"),
    [
        (landscapes.himmelblau, (3.0, 3.0), (3.0, 2.5), "EQUAL_FATE"),
        # the line between them leads through the maximum, and its border is that point alone
        (landscapes.double_well, (-1.2, -1.2), (1.2, 1.2), "HIGHER_INDEX"),
        # of the three minima in a row these are the outer ones
        (landscapes.muller_brown, (-0.6, 1.4), (0.6, 0.0), "OTHER_MINIMA"),
        (three_valleys, (-0.5, 0.1), (0.3, 0.5), "DEGENERATE"),
        (ring, (-0.5, 0.1), (0.3, 0.5), "NO_BORDER"),
        (landscapes.monkey_saddle, (-0.5, 0.1), (0.3, 0.5), "NO_MINIMUM"),
        (tilted_wells, (0.0, 1.0), (1.0, 1.0), "NO_MINIMUM"),  # a saddle is no minimum
    ],
)
def test_what_is_no_saddle_between_the_two_minima_is_said_to_be_none(loss, one, other, status):
    assert status_name(between(loss, one, other)) == status


def test_third_basin_is_reported_with_its_saddle():
    found = between(landscapes.muller_brown, (-0.6, 1.4), (0.6, 0.0))
    first, _, third = landscapes.muller_brown.minima
    assert found.index == 1
    np.testing.assert_allclose(found.minima, [first, third], atol=1e-5)


@pytest.mark.long
def test_degenerate_saddle_has_no_index_in_float64(x64):
    found = between(three_valleys, (-0.5, 0.1), (0.3, 0.5))
    assert (status_name(found), int(found.index)) == ("DEGENERATE", 0)
    np.testing.assert_allclose(found.params, 0, atol=1e-8)


def test_what_was_not_found_is_nan():
    found = between(tilted_wells, (0.8, 0.9), (1.2, 0.7))
    assert int(found.index) == -1
    for field in (found.params, found.loss, found.minima, found.barriers):
        assert np.isnan(field).all()


@pytest.mark.long
@pytest.mark.parametrize("optimizer", [optax.sgd(0.01, 0.9), optax.adam(0.05)])
def test_border_of_optimizers_with_a_memory_is_followed_with_it(optimizer):
    d = Descent(landscapes.himmelblau, jnp.zeros(2), optimizer)
    found = edge(d, jnp.array([3.0, 3.0]), jnp.array([-3.0, 3.0]))
    assert found.status == EdgeStatus.SADDLE
    np.testing.assert_allclose(found.params, landscapes.himmelblau.saddles[1], atol=1e-5)


@pytest.mark.long
def test_many_pairs_abreast_are_as_each_alone():
    ones = jnp.array([[-0.9, 1.1], [-1.2, -0.7], [0.8, 0.9], [-0.3, -1.0]])
    others = jnp.array([[1.2, 0.8], [1.2, -1.3], [1.2, 0.7], [-0.6, 0.4]])
    many = jax.vmap(lambda one, other: edge(WELLS, one, other))(ones, others)
    alone = [between(tilted_wells, one, other) for one, other in zip(ones, others)]
    assert many.status.tolist() == [int(found.status) for found in alone]
    for i, found in enumerate(alone):
        np.testing.assert_allclose(many.params[i], found.params, atol=1e-6)
        np.testing.assert_allclose(many.barriers[i], found.barriers, rtol=1e-6)


def squares(z):
    return z.real**2 + z.imag**2  # of which, unlike of |z|², jax knows the derivatives at 0


@pytest.mark.long
def test_any_pytree_and_arguments_of_the_loss_are_taken():
    def loss(tree, height):
        return height * (tree["x"] ** 2 - 1) ** 2 + jnp.sum(squares(tree["z"] - 1j))

    one = {"x": jnp.array(-0.5), "z": jnp.array([0.2 + 0.1j])}
    other = {"x": jnp.array(0.9), "z": jnp.array([0.0 + 0.5j])}
    found = edge(Descent(loss, one, optax.sgd(0.05), (2.0,)), one, other)
    assert found.status == EdgeStatus.SADDLE
    np.testing.assert_allclose(found.params["z"], [1j], atol=1e-6)
    np.testing.assert_allclose(found.minima["x"], [-1, 1], atol=1e-6)
    np.testing.assert_allclose(found.barriers, 2, rtol=1e-6)


@pytest.mark.long
def test_batches_are_descended_as_the_whole():
    data = jnp.array([0.9, 1.1])

    def loss(x, batch):
        return jnp.mean((x**2 - batch) ** 2)

    batches = gdjax.batches.mini(data, 1)
    d = Descent(loss, 0.5, optax.sgd(0.05), batches=batches, key=jax.random.key(0))
    found = edge(d, -0.5, 1.5)
    assert found.status == EdgeStatus.SADDLE
    np.testing.assert_allclose(found.loss, np.mean(data**2), rtol=1e-6)


@pytest.mark.long
def test_loose_tolerance_of_the_runs_moves_no_saddle():
    found = between(landscapes.himmelblau, (3.0, 3.0), (-3.0, 3.0), tol=0.5)
    assert status_name(found) == "SADDLE"
    np.testing.assert_allclose(found.params, landscapes.himmelblau.saddles[1], atol=1e-5)


@pytest.mark.long
def test_second_pair_compiles_nothing(no_compilation):
    starts = [jnp.array(start) for start in ([-0.9, 1.1], [1.2, 0.8], [0.7, -1.1])]
    edge(WELLS, starts[0], starts[1])
    with no_compilation():
        edge(WELLS, starts[1], starts[2])


@pytest.mark.parametrize(
    ("one", "error", "message"),
    [
        (jnp.zeros(3), TypeError, "^one: expected float32"),
        ({"x": jnp.zeros(2)}, TypeError, "^one: expected the structure"),
    ],
)
def test_start_that_does_not_fit_is_refused(one, error, message):
    with pytest.raises(error, match=message):
        edge(WELLS, one, jnp.ones(2))


def test_what_is_no_descent_is_refused():
    with pytest.raises(TypeError, match=r"^d: expected a gdjax.Descent"):
        edge(landscapes.himmelblau, jnp.zeros(2), jnp.ones(2))


def test_batches_on_the_host_are_refused():
    host = gdjax.batches.host(np.zeros(4, np.float32), 2)
    d = Descent(tilted_wells, 0.0, optax.sgd(0.1), batches=host, key=jax.random.key(0))
    with pytest.raises(TypeError, match=r"^d: expected batches in the device's memory"):
        edge(d, 0.0, 1.0)


@pytest.mark.long
def test_a_thousand_parameters_need_no_hessian():
    def loss(x):  # wells in one direction of many, in none of which they are aligned with an axis
        along = 2 * jnp.mean(x) * jnp.sqrt(x.size)
        across = x - jnp.mean(x)
        return (along**2 / 4 - 1) ** 2 + jnp.sum(jnp.linspace(1.0, 9.0, x.size) * across**2)

    one = 0.03 * jnp.ones(1000) + 0.01 * jax.random.normal(jax.random.key(0), (1000,))
    d = Descent(loss, one, optax.sgd(0.04))
    found = jax.jit(lambda one, other: edge(d, one, other))(one, -0.9 * one[::-1])
    assert (status_name(found), int(found.index)) == ("SADDLE", 1)
    np.testing.assert_allclose(found.params, np.zeros(1000), atol=1e-5)
    np.testing.assert_allclose(found.barriers, 1.0, rtol=1e-5)
    assert found.curvatures.shape == (3,)
    np.testing.assert_allclose(found.curvatures[0], -4.0, atol=float(found.curvature_error))
