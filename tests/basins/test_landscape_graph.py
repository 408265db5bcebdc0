import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, landscapes
from gdjax.basins import EdgeStatus, landscape_graph
from gdjax.basins.barriers import direct_heights, lowest_heights
from gdjax.basins.borders import border_pairs, spread_over_borders


def graph_of(landscape, n=40, rate=None, **keywords):
    rate = landscape.learning_rate if rate is None else rate
    grid = gdjax.grid(*((low, high, n) for low, high in landscape.domain))
    runs = gdjax.sweep(lambda start: Descent(landscape, start, optax.sgd(rate)), start=grid)
    return landscape_graph(runs, gdjax.map_basins(runs), **keywords)


@pytest.fixture(scope="module")
def himmelblau():
    return graph_of(landscapes.himmelblau)


def same_points(found, known, tol=1e-4):
    distances = np.abs(np.asarray(found)[:, None] - known[None]).max(axis=2)
    return len(found) == len(known) and (distances.min(axis=1) < tol).all()


@pytest.mark.long
def test_all_saddles_of_himmelblau_are_found_once(himmelblau):
    assert same_points(himmelblau.saddles.params, landscapes.himmelblau.saddles)


@pytest.mark.long
def test_status_says_what_each_border_led_to(himmelblau):
    assert len(himmelblau.status) == len(himmelblau.pairs)
    arrived = np.isin(himmelblau.status, [EdgeStatus.SADDLE, EdgeStatus.OTHER_MINIMA])
    assert himmelblau.saddles.found.sum() == arrived.sum() >= 0.9 * len(arrived)


@pytest.mark.long
def test_heights_are_of_the_lowest_paths(himmelblau):
    saddles = himmelblau.saddles
    inside = (saddles.minima >= 0).all(axis=1)
    expected = lowest_by_flooding(saddles.minima[inside], saddles.loss[inside], 4)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(himmelblau.heights[off], expected[off], rtol=1e-6)


@pytest.mark.long
def test_barriers_are_heights_above_the_minimum_left(himmelblau):
    losses = himmelblau.minima.loss
    np.testing.assert_array_equal(himmelblau.barriers, himmelblau.heights - losses[:, None])
    np.testing.assert_array_equal(np.diagonal(himmelblau.barriers), 0)


@pytest.mark.long
@pytest.mark.parametrize("name", ["six_hump_camel", "muller_brown"])
def test_all_saddles_of_other_landscapes_are_found(name):
    landscape = landscapes.get(name)
    assert same_points(graph_of(landscape, 60).saddles.params, landscape.saddles)


@pytest.mark.long
def test_separable_wells_have_an_edge_of_the_cube_for_each_saddle():
    graph = graph_of(landscapes.double_well.in_dimension(3), 8)
    assert len(graph.minima.loss) == 8
    assert len(graph.saddles.loss) == 12  # C(3, 1) 2^2 of index 1
    np.testing.assert_allclose(graph.saddles.loss, -0.5, rtol=1e-6)
    np.testing.assert_allclose(graph.barriers[~np.eye(8, dtype=bool)], 0.25, rtol=1e-5)
    corners = np.asarray(graph.minima.params)[graph.saddles.minima]
    assert (np.abs(np.diff(corners, axis=1)).round() == 2).sum() == 12


@pytest.mark.long
def test_border_of_starts_that_reach_a_saddle_is_followed_too():
    # of an odd grid the middle starts reach a saddle and have no label
    graph = graph_of(landscapes.double_well, 9)
    assert len(graph.saddles.loss) == 4


@pytest.mark.long
def test_swept_learning_rate_adds_no_pairs():
    runs = gdjax.sweep(
        lambda start, rate: Descent(landscapes.double_well, start, optax.sgd(rate)),
        start=gdjax.grid((-2, 2, 8), (-2, 2, 8)),
        rate=[0.05, 0.1],
    )
    graph = landscape_graph(runs, gdjax.map_basins(runs))
    assert len(graph.saddles.loss) == 4
    assert (graph.status != EdgeStatus.EQUAL_FATE).all()


@pytest.mark.long
def test_one_minimum_has_no_saddle():
    graph = graph_of(landscapes.booth, 6, 0.05)
    assert graph.heights.shape == (1, 1)
    assert len(graph.saddles.loss) == len(graph.status) == 0


@pytest.mark.long
def test_no_minimum_has_no_graph():
    graph = graph_of(landscapes.monkey_saddle, 6, 0.05)
    assert graph.heights.shape == (0, 0)


@pytest.mark.long
def test_saddle_to_a_minimum_off_the_map_is_kept_without_its_label():
    def row(x):  # minima at all whole numbers; the starts reach two of them
        return jnp.sin(jnp.pi * x) ** 2

    starts = jnp.array([-0.3, 2.3])
    runs = gdjax.sweep(lambda start: Descent(row, start, optax.sgd(0.02)), start=starts)
    graph = landscape_graph(runs, gdjax.map_basins(runs))
    assert graph.minima.params.round().tolist() == [0, 2]
    assert graph.saddles.minima.min() == -1
    assert np.isinf(graph.heights[0, 1])


@pytest.mark.long
def test_pairs_bound_the_borders_followed():
    graph = graph_of(landscapes.double_well, 10, pairs=2)
    assert len(graph.status) == 8


BAD = [
    ({"pairs": 0}, ValueError, "^pairs: expected a whole number of at least 1"),
    ({"pairs": 1.5}, TypeError, "^pairs: expected a whole number"),
    ({"tol": 0.0}, ValueError, "^tol: expected a number above 0"),
]


@pytest.fixture(scope="module")
def small():
    starts = gdjax.grid((-2, 2, 4), (-2, 2, 4))
    runs = gdjax.sweep(
        lambda start: Descent(landscapes.double_well, start, optax.sgd(0.1)), start=starts
    )
    return runs, gdjax.map_basins(runs)


@pytest.mark.long
@pytest.mark.parametrize(("keywords", "error", "message"), BAD)
def test_bad_number_is_refused(small, keywords, error, message):
    with pytest.raises(error, match=message):
        landscape_graph(*small, **keywords)


def test_map_of_other_runs_is_refused(small):
    runs, basins = small
    with pytest.raises(TypeError, match=r"^runs: expected what gdjax.sweep returns"):
        landscape_graph(basins, runs)
    other = gdjax.sweep(lambda start: Descent(landscapes.double_well, start, optax.sgd(0.1)),
                        start=jnp.ones((3, 2)))  # fmt: skip
    with pytest.raises(ValueError, match=r"^basins: expected a map of these runs"):
        landscape_graph(other, basins)


def lowest_by_flooding(minima, loss, count):
    """Raise a water level saddle by saddle; the slow way, to compare with."""
    heights = np.full((count, count), np.inf)
    lake = np.arange(count)
    for (one, other), level in sorted(zip(minima.tolist(), loss), key=lambda pair: pair[1]):
        if lake[one] != lake[other]:
            first, second = lake == lake[one], lake == lake[other]
            heights[np.ix_(first, second)] = level
            heights[np.ix_(second, first)] = level
            lake[second] = lake[one]
    return heights


@pytest.mark.parametrize("seed", range(20))
def test_lowest_paths_are_those_that_flooding_finds(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 12))
    minima = random.integers(0, count, (int(random.integers(0, 20)), 2))
    minima = minima[minima[:, 0] != minima[:, 1]]
    saddles = random.normal(size=len(minima)).round(1)  # some are equal
    heights = lowest_heights(direct_heights(minima, saddles, count), np.full(count, -9.0))
    expected = lowest_by_flooding(minima, saddles, count)
    np.fill_diagonal(expected, -9.0)
    np.testing.assert_array_equal(heights, expected)


def test_border_pairs_step_over_starts_without_a_label():
    labels = np.array([[0, -1, 1], [0, 0, 0], [-1, -1, 2]])
    pairs = {tuple(pair) for pair in np.sort(border_pairs(labels), axis=1).tolist()}
    assert pairs == {(0, 2), (2, 5), (5, 8)}


def test_pairs_are_spread_evenly_over_each_border():
    labels = np.array([0, 1] * 50 + [2])
    pairs = border_pairs(labels)
    chosen = pairs[spread_over_borders(labels, pairs, 3)]
    assert chosen.tolist() == [[0, 1], [49, 50], [98, 99], [99, 100]]


@pytest.mark.long
def test_graph_of_complex_parameters_in_a_tree():
    def loss(tree):
        w = tree["z"] ** 2 - 1
        return w.real**2 + w.imag**2  # minima at -1 and 1, a saddle at 0

    z = jax.random.normal(jax.random.key(0), (40, 2)) @ jnp.array([1.0, 1j])
    runs = gdjax.sweep(lambda start: Descent(loss, start, optax.sgd(0.05)), start={"z": z})
    graph = landscape_graph(runs, gdjax.map_basins(runs))
    np.testing.assert_allclose(graph.saddles.params["z"], [0], atol=1e-6)
    np.testing.assert_allclose(graph.barriers, [[0, 1], [1, 0]], atol=1e-5)
