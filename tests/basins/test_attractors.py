"""Attractors: cycles, valleys, symmetries, tracks; and that nothing else decides a label."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status, Verdict, landscapes

ONE = np.ones((1, 2), np.float32)
HERE = np.random.default_rng(0)


def mapped(loss, start, rate, symmetry=None, **changes):
    runs = gdjax.sweep(lambda start: Descent(loss, start, optax.sgd(rate), **changes), start=start)
    return gdjax.map_basins(runs, symmetry=symmetry)


def cubic_lane(start, learning_rate):  # conjugate to the logistic map with r = 1 + learning rate
    loss = lambda x: x**3 / 3 - x**2 / 2  # noqa: E731
    stop = gdjax.stop.gradient_below(1e-6)  # not by chance, on the way round
    return Descent(loss, start, optax.sgd(learning_rate), stop=stop, max_steps=3000)


@pytest.fixture(scope="module")
def logistic():
    start, rates = np.linspace(0.13, 1.21, 12), [0.5, 1.9, 2.2, 2.5, 2.9]
    return gdjax.map_basins(gdjax.sweep(cubic_lane, start=start, learning_rate=rates))


def test_cycles_are_attractors_with_their_points_whatever_the_phase(logistic):
    attractors = logistic.attractors
    assert attractors.verdict.tolist() == [Verdict.MINIMUM] + [Verdict.OSCILLATING] * 2
    assert sorted(attractors.period.tolist()) == [0, 2, 4]
    two = attractors.period[1:].tolist().index(2)
    x, y = attractors.orbits[two, :2]
    # the 2-cycle of x - r (x² - x): sum (2 + r) / r, product (2 + r) / r²
    assert (x + y, x * y) == pytest.approx((4.2 / 2.2, 4.2 / 2.2**2), abs=1e-5)
    assert np.isnan(attractors.orbits[two, 2:]).all()


@pytest.mark.long
@pytest.mark.parametrize("rate", [1.05, 1.2])
def test_labels_of_cycles_do_not_depend_on_the_number_of_starts(rate):
    def loss(w):  # both of its wells have a cycle of period 2, and each pair of them several
        return jnp.sum(w**4 / 4 - w**2 / 2)

    along = np.linspace(-1.1, 1.13, 12), np.linspace(-1.1, 1.15, 12)
    starts = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 2)
    starts = starts.astype(np.float32)
    whole = mapped(loss, starts, rate, max_steps=2000)
    some = mapped(loss, starts[:100], rate, max_steps=2000)
    turned = mapped(loss, starts[::-1], rate, max_steps=2000)
    assert len(whole.attractors.loss) == len(some.attractors.loss) == 8
    np.testing.assert_array_equal(whole.labels[:100], some.labels)
    np.testing.assert_array_equal(whole.labels, turned.labels[::-1])


def rank_one(w):  # the best fits are t u, v / t: two valleys, as t may be negative
    return jnp.sum((jnp.outer(w[:2], w[2:]) - jnp.array([[2.0, 1.0], [1.0, 3.0]])) ** 2)


@pytest.mark.long
@pytest.mark.parametrize("tol", [1e-4, 1e-2])
def test_valleys_whose_sides_are_not_equally_steep_are_whole(tol):
    def lane(start):
        stop = gdjax.stop.gradient_below(tol)
        return Descent(rank_one, start, optax.sgd(0.02), stop=stop)

    runs = gdjax.sweep(lane, start=jax.random.normal(jax.random.key(0), (100, 4)))
    basins = gdjax.map_basins(runs)
    assert basins.attractors.verdict.tolist() == [Verdict.VALLEY] * 2
    assert basins.attractors.flat_dimension.tolist() == [1, 1]
    side = np.sign(runs.params[:, 0] + runs.params[:, 1])  # of u, which has positive entries
    np.testing.assert_array_equal(basins.labels == basins.labels[0], side == side[0])
    assert (basins.labels >= 0).all()


@pytest.mark.long
@pytest.mark.parametrize(("rank", "components", "dimension"), [(1, 2, 1), (2, 2, 4)])
def test_best_fits_of_a_rank_are_as_many_valleys_as_the_group_has_parts(
    rank, components, dimension
):
    matrix = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)

    def loss(w):
        left, right = w[: 3 * rank].reshape(3, rank), w[3 * rank :].reshape(rank, 3)
        return jnp.sum((left @ right - matrix) ** 2)

    basins = mapped(loss, jax.random.normal(jax.random.key(1), (100, 6 * rank)), 0.02)
    assert basins.attractors.verdict.tolist() == [Verdict.VALLEY] * components
    assert basins.attractors.flat_dimension.tolist() == [dimension] * components
    assert basins.attractors.size.sum() == 100


@pytest.mark.long
def test_cycle_of_momentum_is_that_of_gradient_descent_at_a_smaller_rate():
    # with period 2, the velocity changes its sign: (1 + β) v = -α ∇L
    optimizer = optax.sgd(2.2 * 1.5, momentum=0.5)

    def lane(start):
        return Descent(lambda x: x**3 / 3 - x**2 / 2, start, optimizer, max_steps=3000)

    runs = gdjax.sweep(lane, start=np.linspace(0.8, 1.1, 8))
    basins = gdjax.map_basins(runs)
    assert basins.attractors.period.tolist() == [2]
    np.testing.assert_array_equal(basins.labels == 0, runs.status == Status.STEP_LIMIT)
    x, y = basins.attractors.orbits[0]
    assert (x + y, x * y) == pytest.approx((4.2 / 2.2, 4.2 / 2.2**2), abs=1e-5)


def test_chaos_is_no_cycle(logistic):
    assert (logistic.labels[:, 4] == -1).all()
    assert (logistic.labels[:, :4] >= 0).all()


def test_tracks_say_where_an_attractor_lives_and_loses_its_stability(logistic):
    found = gdjax.basins.tracks(logistic, along="learning_rate")
    assert found.share[0].tolist() == [1, 1, 0, 0, 0]
    assert (found.first[0], found.last[0]) == pytest.approx((0.5, 1.9))
    assert found.limit[0] == pytest.approx(np.full(5, 2.0))
    np.testing.assert_allclose(found.first[1:], found.last[1:])


@pytest.mark.parametrize(("nesterov", "limit"), [(False, 3.0), (True, 1.5)])
def test_momentum_moves_the_limit_of_a_track(nesterov, limit, logistic):
    found = gdjax.basins.tracks(logistic, "learning_rate", momentum=0.5, nesterov=nesterov)
    assert found.limit[0] == pytest.approx(np.full(5, limit))


@pytest.mark.long
def test_an_attractor_that_moves_with_an_axis_is_one_track():
    def lane(start, centre):
        return Descent(lambda w: ((w - centre) ** 2 - 4) ** 2, start, optax.sgd(0.01))

    runs = gdjax.sweep(lane, start=[-2.0, 2.5], centre=[0.0, 0.1, 0.2, 0.3])
    basins = gdjax.map_basins(runs)
    assert len(basins.attractors.loss) == 8
    found = gdjax.basins.tracks(basins, along="centre")
    np.testing.assert_array_equal(found.share, np.full((2, 4), 0.5))


RING = gdjax.grid((-1.5, 1.5, 12), (-1.5, 1.5, 12))
SPACE = HERE.uniform(-2, 2, (300, 3)).astype(np.float32)
VALLEYS = {
    "ring": (lambda w: (jnp.sum(w**2) - 1) ** 2, RING, 0.02, [1]),
    "two lines of equal loss": (lambda w: (w[0] ** 2 - 1) ** 2 + 0 * w[1], RING, 0.05, [1, 1]),
    "quartic point": (lambda w: jnp.sum(w**4), RING, 0.02, [0]),
    "line of quartic points": (lambda w: w[0] ** 4 + 0 * w[1], RING, 0.05, [1]),
    "surfaces of four signs": (lambda w: (jnp.prod(w) - 1) ** 2 / 4, SPACE, 0.02, [2] * 4),
}


@pytest.mark.long  # a ring is among the maps
@pytest.mark.parametrize("name", VALLEYS)
def test_valley_is_one_attractor_with_its_dimension(name):
    loss, start, rate, dimensions = VALLEYS[name]
    attractors = mapped(loss, start, rate, max_steps=50_000).attractors
    assert attractors.flat_dimension.tolist() == dimensions
    expected = [Verdict.VALLEY if d else Verdict.MINIMUM for d in dimensions]
    assert attractors.verdict.tolist() == expected


@pytest.mark.long
def test_symmetry_makes_one_attractor_of_equivalent_ones():
    def loss(w):
        return landscapes.double_well(w) + 0.3 * (w[0] - w[1]) ** 2

    start = gdjax.uniform(jax.random.key(0), [(-2, 2)] * 2, 40)
    with_it = mapped(loss, start, 0.1, symmetry=lambda w: -jnp.sort(-jnp.abs(w)))
    without = mapped(loss, start, 0.1)
    assert len(without.attractors.loss) == 2
    assert with_it.attractors.size.tolist() == [40]


def test_symmetry_that_changes_the_loss_is_refused():
    with pytest.raises(ValueError, match="symmetry: expected the loss to stay as it is"):
        mapped(landscapes.himmelblau, ONE, 0.01, symmetry=lambda w: w + 1)


def test_symmetry_that_changes_the_shape_is_refused():
    with pytest.raises(TypeError, match="symmetry: expected it to return parameters as"):
        mapped(landscapes.himmelblau, ONE, 0.01, symmetry=jnp.sum)


@pytest.mark.long
def test_polish_is_in_double_precision_though_the_runs_are_not():
    basins = mapped(landscapes.himmelblau, np.float32([[3.5, 2.5], [-3.0, -3.0]]), 0.01)
    assert not jax.config.jax_enable_x64
    known = landscapes.himmelblau.minima
    known = known[np.argsort(known[:, 0])][[0, 2]]
    np.testing.assert_allclose(basins.attractors.params, known, atol=1e-14)


def of_one_type(w):
    carry = jax.lax.fori_loop(0, 2, lambda _, c: c + jnp.sum(w**2), np.float32(0))
    return carry + (w[0] - 1) ** 2


def random_inside(w):
    return jnp.sum((w - jax.random.normal(jax.random.key(0), (2,))) ** 2)


@pytest.mark.long
@pytest.mark.parametrize("loss", [of_one_type, pytest.param(random_inside, marks=pytest.mark.long)])
def test_loss_that_double_precision_would_change_is_polished_in_that_of_the_runs(loss):
    basins = mapped(loss, np.float32([[1, 1], [-1, 0]]), 0.1)
    assert basins.attractors.params.dtype == np.float32
    assert basins.attractors.size.tolist() == [2]


def random_lane(start, key):
    centre = jax.random.normal(key, (2,))
    return Descent(lambda w: jnp.sum((w - centre) ** 2), start, optax.sgd(0.1))


@pytest.mark.long
def test_random_numbers_of_a_lane_are_those_of_its_run():
    runs = gdjax.sweep(random_lane, start=np.zeros((3, 2), np.float32), key=jax.random.key(1))
    basins = gdjax.map_basins(runs)
    assert basins.attractors.params.dtype == np.float64
    np.testing.assert_allclose(basins.attractors.params[basins.labels], runs.params, atol=1e-3)


@pytest.mark.long
def test_ends_at_one_place_of_different_losses_are_looked_at_apart():
    def lane(start, sign):  # 0 is a minimum of the one loss and a maximum of the other
        return Descent(lambda w: sign * w**2, start, optax.sgd(0.1))

    basins = gdjax.map_basins(gdjax.sweep(lane, start=[0.0], sign=[-1.0, 1.0]))
    assert basins.attractors.verdict[basins.labels[0]].tolist() == [
        Verdict.MAXIMUM,
        Verdict.MINIMUM,
    ]


def with_ends(runs, ends, **changes):
    count = len(ends)
    own = {"grad_norm": np.zeros(count, np.float32), "loss": np.zeros(count, np.float32)}
    status = np.full(count, Status.CONVERGED, np.int8)
    return dataclasses.replace(runs, params=ends, status=status, **own | changes)


@pytest.fixture(scope="module")
def started():
    def lane(start):
        return Descent(landscapes.himmelblau, start, optax.sgd(0.01), max_steps=0)

    return gdjax.sweep(lane, start=gdjax.uniform(jax.random.key(0), [(-6, 6)] * 2, 400))


MINIMA = np.asarray(landscapes.himmelblau.minima, np.float32)


@pytest.mark.long
def test_ends_at_their_attractors_are_well_separated_and_not_ambiguous(started):
    ends = np.repeat(MINIMA, 100, axis=0)
    close = with_ends(started, ends)
    assert gdjax.map_basins(close).separation > 1e4
    assert not gdjax.map_basins(close).ambiguous.any()


@pytest.mark.long
def test_minima_that_only_a_chain_merges_are_ambiguous():
    gap = 4e-3  # of minima at 0, ±gap, ±2 gap, …; the spread is about 9, so that they chain

    def lane(start):
        return Descent(lambda w: 1e-4 * (1 - jnp.cos(2 * jnp.pi * w / gap)), start, optax.sgd(1e-4))

    near = np.arange(8, dtype=np.float32) * gap
    starts = np.concatenate([np.linspace(-5, 5, 92, dtype=np.float32), near])
    runs = gdjax.sweep(lane, start=starts)
    only_near = runs.status.copy()
    only_near[:92] = Status.STEP_LIMIT
    diverged = np.where(np.arange(100) < 92, Status.DIVERGED, Status.CONVERGED).astype(np.int8)
    basins = gdjax.map_basins(dataclasses.replace(runs, status=diverged))
    assert len(basins.attractors.loss) == 1
    assert basins.ambiguous[92:].sum() >= 4
    assert (basins.labels[basins.ambiguous] == -1).all()


@pytest.mark.long
def test_end_nearly_as_near_to_another_minimum_is_ambiguous():
    def lane(start):
        loss = lambda w: jnp.minimum(w**2, (w - 0.1) ** 2)  # noqa: E731
        return Descent(loss, start, optax.sgd(0.1), max_steps=0)

    ends = np.float32([0, 0.02, 0.04, 0.06, 0.08, 0.1])  # beside ±5, which the spread is from
    runs = gdjax.sweep(lane, start=np.concatenate([ends, np.linspace(-5, 5, 40)]))
    status = np.where(np.arange(46) < 6, Status.CONVERGED, Status.DIVERGED).astype(np.int8)
    basins = gdjax.map_basins(dataclasses.replace(runs, status=status))
    assert basins.labels[:6].tolist() == [0, 0, -1, -1, 1, 1]
    assert np.flatnonzero(basins.ambiguous).tolist() == [2, 3]


def test_nothing_but_the_ends_decides_a_label(started):
    ends = MINIMA[HERE.integers(0, 4, 400)] + 1e-4 * HERE.normal(size=(400, 2)).astype(np.float32)
    gradients = HERE.uniform(size=400).astype(np.float32)
    straight = gdjax.map_basins(with_ends(started, ends, grad_norm=gradients))
    order = HERE.permutation(400)
    shuffled = gdjax.map_basins(with_ends(started, ends[order], grad_norm=gradients[order]))
    np.testing.assert_array_equal(shuffled.labels, straight.labels[order])
    np.testing.assert_array_equal(shuffled.attractors.params, straight.attractors.params)


@pytest.mark.long
@pytest.mark.parametrize("side", [33, 64, 100, 150])
def test_himmelblaus_labels_depend_on_no_tile_nor_thread(side):
    def lane(start):
        return Descent(landscapes.himmelblau, start, optax.sgd(0.01))

    grid = gdjax.grid((-6, 6, side), (-6, 6, side))
    maps = [
        gdjax.map_basins(gdjax.sweep(lane, start=grid, tile=tile, workers=workers)).labels
        for tile in (64, 256, 1024)
        for workers in (1, 2)
    ]
    for other in maps[1:]:
        np.testing.assert_array_equal(other, maps[0])
