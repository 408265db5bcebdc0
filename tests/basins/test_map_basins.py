import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Verdict, landscapes

FEW = gdjax.grid((-6, 6, 40), (-6, 6, 40))


def mapped(loss, start, rate, tol=1e-3, **changes):
    runs = gdjax.sweep(lambda start: Descent(loss, start, optax.sgd(rate), **changes), start=start)
    return gdjax.map_basins(runs, tol)


def over_domain(landscape, n=40):
    return gdjax.grid(*((low, high, n) for low, high in landscape.domain))


@pytest.fixture(scope="module")
def himmelblau():
    return mapped(landscapes.himmelblau, FEW, 0.01)


COMPLETE = ["styblinski_tang"]  # others are in test_known_figures


@pytest.mark.long
@pytest.mark.parametrize("name", COMPLETE)
def test_attractors_are_exactly_the_known_minima(name):
    landscape = landscapes.get(name)
    basins = mapped(landscape, over_domain(landscape), landscape.learning_rate)
    found = {tuple(point) for point in basins.attractors.params.round(2).tolist()}
    known = {tuple(point) for point in landscape.minima.round(2).tolist()}
    assert len(basins.attractors.loss) == len(landscape.minima)
    for point in known:
        assert min(np.abs(np.subtract(point, other)).max() for other in found) <= 0.011


def test_every_start_is_labelled_with_the_minimum_it_reached():
    runs = gdjax.sweep(
        lambda start: Descent(landscapes.himmelblau, start, optax.sgd(0.01)), start=FEW
    )
    basins = gdjax.map_basins(runs)
    np.testing.assert_allclose(basins.attractors.params[basins.labels], runs.params, atol=1e-3)


@pytest.mark.long
def test_labels_are_sorted_by_loss():
    camel = landscapes.six_hump_camel
    losses = mapped(camel, over_domain(camel), camel.learning_rate).attractors.loss
    # pairs of equal minima: sorted but for rounding
    assert np.all(np.diff(losses) > -1e-5)


def test_equal_losses_are_sorted_by_coordinates(himmelblau):
    params = himmelblau.attractors.params
    assert params[:, 0].tolist() == sorted(params[:, 0].tolist())


@pytest.mark.long
@pytest.mark.parametrize(
    ("tol", "loose"), [(1e-4, 1e-2), pytest.param(1e-2, 1e-3, marks=pytest.mark.long)]
)
def test_tolerances_of_map_and_run_change_no_label(tol, loose, himmelblau):
    stop = gdjax.stop.gradient_below(loose)
    other = mapped(landscapes.himmelblau, FEW, 0.01, tol, stop=stop)
    np.testing.assert_array_equal(other.labels, himmelblau.labels)


@pytest.mark.long
def test_order_of_the_starts_changes_no_label():
    starts = np.random.default_rng(0).uniform(-6, 6, (500, 2)).astype(np.float32)
    order = np.random.default_rng(1).permutation(500)
    straight = mapped(landscapes.himmelblau, starts, 0.01)
    shuffled = mapped(landscapes.himmelblau, starts[order], 0.01)
    np.testing.assert_array_equal(shuffled.labels, straight.labels[order])
    np.testing.assert_array_equal(shuffled.attractors.params, straight.attractors.params)


@pytest.mark.long
@pytest.mark.parametrize(
    ("scale", "height"), [(1e-3, 1e4), pytest.param(1e3, 1e-4, marks=pytest.mark.long)]
)
def test_scale_of_parameters_and_loss_changes_no_label(scale, height, himmelblau):
    def scaled(x):
        return height * landscapes.himmelblau(x / scale)

    stop = gdjax.stop.gradient_below(1e-3 * height / scale)
    starts = gdjax.grid((-6 * scale, 6 * scale, 40), (-6 * scale, 6 * scale, 40))
    basins = mapped(scaled, starts, 0.01 * scale**2 / height, stop=stop)
    assert len(basins.attractors.loss) == 4
    assert np.mean(basins.labels == himmelblau.labels) > 0.98  # rounding moves a few on the border


@pytest.mark.long
def test_starts_on_a_line_of_symmetry_are_labelled_with_their_saddle_and_maximum():
    # an odd grid has starts with a coordinate 0, which never leave it
    basins = mapped(landscapes.double_well, gdjax.grid((-2, 2, 9), (-2, 2, 9)), 0.1)
    attractors = basins.attractors
    assert attractors.verdict.tolist() == [Verdict.MINIMUM] * 4 + [Verdict.SADDLE] * 4 + [
        Verdict.MAXIMUM
    ]
    assert attractors.index.tolist() == [0] * 4 + [1] * 4 + [2]
    assert attractors.falls_to[4:8].tolist() == [[1, 0], [2, 0], [3, 1], [3, 2]]
    assert basins.labels[4].tolist() == [5] * 4 + [8] + [6] * 4


@pytest.mark.long
def test_start_that_stops_beside_a_saddle_is_labelled_by_its_side():
    # the gradient at all but the last two is below the tolerance of float32: they stop at once
    starts = np.float32([[1e-5, 1], [-1e-5, 1], [0, 1], [1e-5, -1e-5], [-0.5, -0.5], [0, 0.5]])
    basins = mapped(landscapes.double_well, starts, 0.1)
    assert basins.labels.tolist() == [3, 1, 4, 2, 0, 4]
    minima = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    np.testing.assert_allclose(basins.attractors.params, [*minima, [0, 1]], atol=1e-12)
    assert basins.attractors.falls_to[4].tolist() == [3, 1]


@pytest.mark.long
def test_line_of_symmetry_leads_to_a_saddle_whatever_the_spread_of_each_coordinate():
    def turned(w):
        return landscapes.double_well(jnp.stack([w[0] + w[1], w[0] - w[1]]) / jnp.sqrt(2.0))

    along = np.linspace(-2, 2, 20)
    others = np.stack([along, along * 0.3 + 0.1], axis=1)
    starts = np.concatenate([np.stack([along, along], axis=1), others])
    basins = mapped(turned, np.float32(starts), 0.1)
    assert (basins.attractors.verdict[basins.labels[:20]] == Verdict.SADDLE).all()
    assert (basins.attractors.verdict[basins.labels[20:]] == Verdict.MINIMUM).all()


@pytest.mark.long
def test_degenerate_saddle_is_labelled_as_a_saddle():
    # along y = 0 from x > 0 the monkey saddle is x^3: it ends at the origin, where its Hessian is 0
    starts = np.stack([np.linspace(0.1, 1, 50), np.zeros(50)], axis=1).astype(np.float32)
    basins = mapped(landscapes.monkey_saddle, starts, 0.1, max_steps=100_000)
    assert basins.attractors.verdict.tolist() == [Verdict.SADDLE]
    assert (basins.labels == 0).all()


LINE = np.linspace(-2, 2, 30, dtype=np.float32)
ON_AXIS = np.stack([LINE, np.zeros_like(LINE)], axis=1)
SQUARE = gdjax.grid((-2, 2, 20), (-2, 2, 20))
NOT_MINIMA = {
    "slope that a loss stops": (
        landscapes.himmelblau,
        np.zeros((3, 2), np.float32),
        {"rate": 1e-4, "stop": gdjax.stop.loss_below(160.0)},
    ),
    "slope that a step stops": (
        landscapes.himmelblau,
        np.zeros((3, 2), np.float32),
        {"rate": 1e-7, "stop": gdjax.stop.step_below()},
    ),
    "slope that flattens out": (lambda w: jnp.sum(jnp.exp(-w)), SQUARE, {"rate": 0.1}),
    "shallow saddle": (lambda w: w[0] ** 2 - 1e-4 * w[1] ** 2, ON_AXIS, {"rate": 0.1}),
    "degenerate saddle": (lambda w: w[0] ** 2 - w[1] ** 4, ON_AXIS, {"rate": 0.1}),
    "tails beside a stiff axis": (
        lambda w: w[1] ** 2 + 0.1 * jnp.exp(-((w[0] / 0.3) ** 2)),
        gdjax.grid((-1.8, 1.8, 40), (-1, 1, 6)),
        {"rate": 0.2, "max_steps": 100_000},
    ),
    "inflection": (lambda w: w**3, LINE[LINE > 0.1], {"rate": 0.02, "max_steps": 20_000}),
}


@pytest.mark.long
@pytest.mark.parametrize("name", NOT_MINIMA)
def test_it_is_no_minimum(name):
    loss, start, options = NOT_MINIMA[name]
    basins = mapped(loss, start, **options)
    assert set(basins.attractors.verdict.tolist()) <= {int(Verdict.SADDLE)}


ONE_ATTRACTOR = {
    "quartic minimum": (lambda w: jnp.sum(w**4), SQUARE, {"rate": 0.02, "max_steps": 20_000}),
    "circle of minima": (lambda w: (jnp.sum(w**2) - 1) ** 2, SQUARE, {"rate": 0.02}),
    "line of minima": (lambda w: (w[0] - w[1]) ** 2, SQUARE, {"rate": 0.02}),
    "quadrant of minima": (lambda w: jnp.sum(jax.nn.relu(w) ** 2), SQUARE, {"rate": 0.1}),
    "constant loss": (lambda w: 0.0 * jnp.sum(w) + 1.0, SQUARE, {"rate": 0.1}),
}


@pytest.mark.long
@pytest.mark.parametrize("name", ONE_ATTRACTOR)
def test_it_is_one_attractor_with_all_the_starts(name):
    loss, start, options = ONE_ATTRACTOR[name]
    basins = mapped(loss, start, **options)
    assert basins.attractors.size.tolist() == [400]


@pytest.mark.long
@pytest.mark.parametrize("count", [6, 20, 200])
def test_a_wall_parts_what_is_flat_on_both_sides_of_it(count):
    def wall(w):
        return jax.nn.relu(1 - jnp.abs(w[0])) ** 2

    basins = mapped(wall, np.linspace(-3, 3.1, count, dtype=np.float32)[:, None], 0.1)
    left = np.sum(basins.labels == 0)
    assert basins.attractors.verdict.tolist() == [Verdict.VALLEY] * 2
    assert basins.attractors.size.tolist() == [left, count - left]


@pytest.mark.long
def test_two_valleys_stay_two_attractors():
    basins = mapped(lambda w: (w[0] ** 2 - 1) ** 2 + 0.0 * w[1], SQUARE, 0.05)
    assert basins.attractors.size.tolist() == [200, 200]


@pytest.mark.long
def test_coordinates_may_have_scales_far_apart():
    def loss(w):
        return ((w[0] * 1e3) ** 2 - 1) ** 2 + ((w[1] * 1e-3) ** 2 - 1) ** 2

    def lane(start):
        scale = optax.stateless(lambda g, _: g * jnp.array([1e-6, 1e6]))
        optimizer = optax.chain(scale, optax.sgd(0.05))
        return Descent(loss, start, optimizer, stop=gdjax.stop.loss_below(1e-6))

    runs = gdjax.sweep(lane, start=gdjax.grid((-2e-3, 2e-3, 12), (-2e3, 2e3, 12)))
    basins = gdjax.map_basins(runs)
    np.testing.assert_allclose(
        basins.attractors.params * [1e3, 1e-3], [[-1, -1], [-1, 1], [1, -1], [1, 1]], atol=1e-4
    )


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_deeper_minimum_is_first_however_high_the_starts(seed):
    def tilted(w):
        return (w[0] ** 2 - 1) ** 2 - 0.001 * w[0] + w[1] ** 2 / 2

    starts = gdjax.uniform(jax.random.key(seed), [(-10, 10)] * 2, 200)
    basins = mapped(tilted, starts, 1e-3, max_steps=50_000)
    np.testing.assert_allclose(basins.attractors.params[:, 0], [1.0, -1.0], atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_has_the_same_minima(dtype):
    axis = (np.arange(20) + 0.5) / 20 * 12 - 6
    starts = jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), dtype)
    stop = gdjax.stop.gradient_below(2.0)
    attractors = mapped(landscapes.himmelblau, starts, 0.01, stop=stop).attractors
    params = attractors.params[attractors.verdict == Verdict.MINIMUM]  # it stops near saddles too
    known = landscapes.himmelblau.minima
    known = known[np.argsort(known[:, 0])]
    np.testing.assert_allclose(params.astype(float), known, atol=0.05)


@pytest.mark.long
def test_diverged_and_unfinished_runs_get_no_label():
    def lane(rate, budget):
        return Descent(lambda w: w**2, 1.0, optax.sgd(rate), max_steps=budget)

    runs = gdjax.sweep(lane, rate=[0.1, 1.5], budget=[3, 1000])
    assert gdjax.map_basins(runs).labels.tolist() == [[-1, 0], [-1, -1]]


@pytest.mark.long
def test_no_converged_run_at_all_gives_an_empty_map():
    basins = mapped(landscapes.himmelblau, FEW, 0.01, max_steps=1)
    assert (basins.labels == -1).all()
    assert basins.attractors.params.shape == (0, 2)


@pytest.mark.long
def test_starts_in_a_dict_give_attractors_in_a_dict():
    start = gdjax.grid(x=(-6, 6, 10), y=(-6, 6, 10))
    attractors = mapped(landscapes.himmelblau, start, 0.01).attractors
    assert {name: leaf.shape for name, leaf in attractors.params.items()} == {"x": (4,), "y": (4,)}


@pytest.mark.long
def test_complex_parameters_have_basins():
    def loss(z):
        return jnp.abs(z**2 + 1) ** 2  # minima at i and -i

    starts = np.array([1j, 0.5 + 0.5j, -0.2 - 2j, 0.3 - 1j], np.complex64)
    basins = mapped(loss, starts, 0.02)
    np.testing.assert_allclose(basins.attractors.params, [-1j, 1j], atol=1e-4)
    assert basins.labels.tolist() == [1, 1, 0, 0]


@pytest.mark.long
def test_many_parameters_are_looked_at_by_products_with_the_hessian():
    def loss(w):  # minima at ±1 in each coordinate, and a saddle where one is 0
        return jnp.sum((w**2 - 1) ** 2) / 4

    starts = np.sign(np.random.default_rng(0).normal(size=(3, 300))).astype(np.float32) * 0.5
    starts[2, 7] = 0.0
    basins = mapped(loss, np.concatenate([starts, starts]), 0.1)
    attractors = basins.attractors
    assert attractors.size.tolist() == [2, 2, 2]
    assert attractors.verdict.tolist() == [Verdict.MINIMUM] * 2 + [Verdict.SADDLE]
    np.testing.assert_allclose(attractors.curvature_min, [2.0, 2.0, -1.0], rtol=1e-4)


@pytest.mark.long
def test_index_and_dimension_of_many_parameters_are_counted():
    def loss(w):  # three wells, five flat directions, and a bowl in all others
        return jnp.sum((w[:3] ** 2 - 1) ** 2) / 4 + jnp.sum(w[8:] ** 2) / 2

    starts = jax.random.normal(jax.random.key(0), (3, 400)) / 2
    basins = mapped(loss, starts.at[0, :3].set(0).at[1, :2].set(0), 0.3)
    assert basins.attractors.index[basins.labels].tolist() == [3, 2, 0]
    assert basins.attractors.flat_dimension[basins.labels[2]] == 5


@pytest.mark.long
def test_curvatures_are_those_of_the_hessian_at_the_minimum():
    basins = mapped(landscapes.quadratic(50.0), gdjax.grid((-1, 1, 4), (-1, 1, 4)), 0.02)
    np.testing.assert_allclose(basins.attractors.curvature_min, [1.0], rtol=1e-5)
    np.testing.assert_allclose(basins.attractors.curvature_max, [50.0], rtol=1e-5)


@pytest.mark.long
def test_double_precision_polishes_to_the_known_minima(x64):
    basins = mapped(landscapes.himmelblau, gdjax.grid((-6, 6, 10), (-6, 6, 10)), 0.01)
    known = landscapes.himmelblau.minima
    known = known[np.argsort(known[:, 0])]
    np.testing.assert_allclose(basins.attractors.params, known, atol=1e-14)


@pytest.fixture(scope="module")
def swept():
    """Map starts at the maximum, beside it and beyond the minima, at each of the rates."""

    def lane(start, rate):
        loss = lambda x: x**4 / 4 - x**2 / 2  # noqa: E731
        return Descent(loss, start, optax.sgd(rate), max_steps=4000)

    starts = np.float32([0.0, 3e-8, 1.2, -1.2])
    # The minima are unstable beyond rate 1.
    return [
        gdjax.map_basins(gdjax.sweep(lane, start=starts, rate=r)) for r in ([0.1, 1.3], [1.3, 0.1])
    ]


@pytest.mark.long
def test_swept_hyperparameters_share_the_attractors(swept):
    basins, _ = swept
    minimum, maximum, cycle = Verdict.MINIMUM, Verdict.MAXIMUM, Verdict.OSCILLATING
    assert basins.attractors.verdict.tolist() == [minimum] * 2 + [maximum] + [cycle] * 2
    assert basins.labels.tolist() == [[2, 2], [1, -1], [1, 4], [0, 3]]


def test_order_of_a_swept_rate_changes_no_label(swept):
    one, other = swept
    np.testing.assert_array_equal(one.labels, other.labels[:, ::-1])


def test_sides_of_a_maximum_are_those_that_runs_of_some_rate_fall_to(swept):
    for basins in swept:
        assert basins.attractors.falls_to[2].tolist() == [1, 0]


@pytest.mark.long
def test_random_quadratic_has_one_basin():
    key = jax.random.key(0)
    root = jax.random.normal(key, (6, 6))
    curvature = root @ root.T + 0.1 * jnp.eye(6)
    rate = 1.0 / jnp.linalg.eigvalsh(curvature)[-1]
    starts = gdjax.uniform(key, [(-3, 3)] * 6, 64)
    basins = mapped(lambda w: 0.5 * w @ curvature @ w, starts, rate)
    assert basins.attractors.size.tolist() == [64]
