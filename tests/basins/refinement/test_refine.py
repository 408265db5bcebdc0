import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, landscapes
from gdjax.basins import refine

SQUARE = {"x": (-2, 2), "y": (-2, 2)}


def three_minima(p):
    """Minima at x = -2, 0 and 2, in the order of their labels."""
    return (p["x"] + 2) ** 2 * p["x"] ** 2 * (p["x"] - 2) ** 2 + p["y"] ** 2


def jumps(to):
    """A map that goes in one step where a function of the start says: no gradient descent."""

    def update(_, params):
        return {"x": to(params["x"], params["y"]) - params["x"], "y": -params["y"]}

    return lambda start: Descent(three_minima, start, optax.stateless(update), max_steps=5)


def squared(x, y):
    return x**2 + y**2


disc = jumps(lambda x, y: jnp.where(squared(x, y) < 1.7, -2.0, 2.0))
ringed = jumps(
    lambda x, y: jnp.where(squared(x, y) < 1.7, -2.0, jnp.where(squared(x, y) < 1.75, 0.0, 2.0))
)
island = jumps(lambda x, y: jnp.where(squared(x - 0.27, y - 0.25) < 0.01, -2.0, 2.0))
half_plane = jumps(lambda x, y: jnp.where(x + 0.3 * y < 0.123, -2.0, 2.0))


def himmelblau(start):
    return Descent(landscapes.himmelblau, start, optax.sgd(0.01))


def wells(start):
    loss = landscapes.double_well.in_dimension(start.shape[0])
    return Descent(loss, start, optax.sgd(0.1))


def rates(pair):
    """Converges where the rate times the curvature is below 2."""

    def loss(w):
        return pair["curvature"] * w**2 / 2

    return Descent(loss, 1.0, optax.sgd(pair["rate"]), max_steps=300)


def status(runs):
    return runs.status


def full(problem, name, **ranges):
    runs = gdjax.sweep(problem, **{name: gdjax.grid(**ranges)})
    return gdjax.map_basins(runs)


def centres(n, low=-2, high=2):
    x = (low + (np.arange(n) + 0.5) * (high - low) / n).astype(np.float32)
    return np.meshgrid(x, x, indexing="ij")


@pytest.fixture(scope="module")
def refined_disc():
    return refine(disc, SQUARE, 4, coarse=8)


def test_a_circle_is_exact(refined_disc):
    x, y = centres(128)
    np.testing.assert_array_equal(refined_disc.labels(), (squared(x, y) >= 1.7).astype(int))


@pytest.mark.long
def test_a_half_plane_is_exact():
    x, y = centres(64)
    labels = refine(half_plane, SQUARE, 3, coarse=8).labels()
    np.testing.assert_array_equal(
        labels, (x + np.float32(0.3) * y >= np.float32(0.123)).astype(int)
    )


def test_leaves_tile_the_map(refined_disc):
    leaves = refined_disc.leaves
    assert leaves.size.sum() == 128**2
    covered = np.zeros((128, 128), int)
    for (i, j), level in zip(leaves.first.tolist(), leaves.level.tolist()):
        side = 2 ** (4 - level)
        covered[i : i + side, j : j + side] += 1
    assert (covered == 1).all()


def test_share_is_of_all_starts(refined_disc):
    assert refined_disc.share == refined_disc.evaluated / 128**2 < 0.25


def test_dimensions_and_coordinates_are_those_of_a_grid(refined_disc):
    assert (refined_disc.dims, refined_disc.shape) == (("x", "y"), (128, 128))
    np.testing.assert_array_equal(refined_disc.coords["x"], centres(128)[0][:, 0])


@pytest.mark.long
def test_labels_are_those_of_a_map_of_all_starts():
    refined = refine(himmelblau, {"x": (-6, 6), "y": (-6, 6)}, 2)
    basins = full(himmelblau, "start", x=(-6, 6, 256), y=(-6, 6, 256))
    np.testing.assert_array_equal(refined.labels(), basins.labels)
    for name in "xy":
        np.testing.assert_allclose(
            refined.attractors.params[name], basins.attractors.params[name], atol=1e-5
        )


@pytest.mark.long
def test_an_attractor_that_only_fine_cells_show_has_the_label_it_has_in_the_whole_map():
    refined = refine(ringed, SQUARE, 4, coarse=4)
    basins = full(ringed, "start", x=(-2, 2, 64), y=(-2, 2, 64))
    assert refine(ringed, SQUARE, 0, coarse=4).labels().max() == 1
    assert basins.labels.max() == 2
    np.testing.assert_array_equal(refined.labels(), basins.labels)


@pytest.mark.long
def test_an_island_between_the_corners_is_bounded_by_the_audit():
    refined = refine(island, SQUARE, 6, coarse=2, audit=1000)
    x, y = centres(128)
    inside = squared(x - np.float32(0.27), y - np.float32(0.25)) < np.float32(0.01)
    skipped = 128**2 - refined.evaluated
    missed = refined.missed
    assert missed.audited == 1000
    assert missed.low <= np.count_nonzero(inside) / skipped <= missed.high
    assert len(missed.starts) > 0
    assert inside[tuple(missed.starts.T)].all()


@pytest.mark.long
def test_what_is_missed_is_known_where_all_is_audited():
    refined = refine(island, SQUARE, 4, coarse=2, audit=10**6)
    x, y = centres(32)
    inside = squared(x - np.float32(0.27), y - np.float32(0.25)) < np.float32(0.01)
    assert refined.missed.audited == 32**2 - refined.evaluated
    assert len(refined.missed.starts) == np.count_nonzero(inside)
    assert refined.missed.low == refined.missed.high == refined.missed.share


@pytest.mark.long
def test_smaller_coarse_cells_find_the_island():
    refined = refine(island, SQUARE, 2, coarse=32)
    x, y = centres(128)
    inside = squared(x - np.float32(0.27), y - np.float32(0.25)) < np.float32(0.01)
    np.testing.assert_array_equal(refined.labels(), np.where(inside, 0, 1))


@pytest.mark.long
@pytest.mark.parametrize(
    ("dims", "coarse", "levels"),
    [(1, 4, 6), (2, 4, 3), (3, 4, 2), (4, 2, 1)],
)
def test_quadrants_of_the_double_well(dims, coarse, levels):
    refined = refine(wells, [(-2, 2)] * dims, levels, coarse=coarse)
    n = coarse << levels
    positive = np.indices((n,) * dims) >= n // 2
    weights = 2 ** np.arange(dims)[::-1].reshape(dims, *[1] * dims)
    np.testing.assert_array_equal(refined.labels(), (positive * weights).sum(axis=0))


@pytest.mark.long
def test_without_levels_it_is_the_whole_map():
    refined = refine(half_plane, SQUARE, 0, coarse=16)
    basins = full(half_plane, "start", x=(-2, 2, 16), y=(-2, 2, 16))
    assert refined.share == 1
    assert (refined.missed.audited, refined.missed.high) == (0, 0)
    np.testing.assert_array_equal(refined.labels(), basins.labels)


BOX = {"rate": (0.1, 4), "curvature": (0.1, 2)}


@pytest.fixture(scope="module")
def trainable():
    return refine(rates, BOX, 2, label=status, coarse=32)


@pytest.mark.long
def test_a_function_of_the_runs_labels_them(trainable):
    starts = gdjax.grid(rate=(0.1, 4, 128), curvature=(0.1, 2, 128))
    runs = gdjax.sweep(rates, pair=starts)
    np.testing.assert_array_equal(trainable.labels(), runs.status)
    assert trainable.attractors is None
    assert trainable.share < 0.5


def test_another_box_compiles_nothing(trainable, no_compilation):
    with no_compilation():
        refine(rates, {"rate": (0.2, 3), "curvature": (0.5, 2)}, 3, label=status, coarse=32)


def test_the_seed_changes_the_audit_only():
    one, other = (refine(rates, BOX, 2, label=status, coarse=8, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(one.labels(), other.labels())
    assert one.evaluated == other.evaluated


@pytest.mark.parametrize(
    ("values", "dtype"), [((0, 1), np.int8), ((-1, 200), np.int16), ((0, 2**40), np.int64)]
)
def test_labels_come_in_the_smallest_integers_that_hold_them(values, dtype):
    def label(runs):
        return np.where(runs.status == gdjax.Status.CONVERGED, *values)

    labels = refine(rates, BOX, 0, label=label, coarse=8).labels()
    assert labels.dtype == dtype
    assert set(np.unique(labels).tolist()) == set(values)


BAD = {
    "no function": ({"problem": 3}, TypeError, "problem: "),
    "two arguments": ({"problem": lambda a, b: None}, TypeError, "problem: .*one argument"),
    "no argument": ({"problem": lambda: None}, TypeError, "problem: .*one argument"),
    "an argument that sweep has": (
        {"problem": lambda tile: rates(tile)},
        TypeError,
        "problem: .*'tile'",
    ),
    "no descent": ({"problem": lambda start: 1.0}, TypeError, "lane: "),
    "no box": ({"box": 3}, TypeError, "box: "),
    "empty box": ({"box": []}, ValueError, "box: "),
    "turned bounds": ({"box": {"x": (1, 0)}}, ValueError, r"box\['x'\]: "),
    "five sides": ({"box": [(0, 1)] * 5}, ValueError, "box: .*1 to 4"),
    "levels below 0": ({"levels": -1}, ValueError, "levels: "),
    "half a level": ({"levels": 1.5}, TypeError, "levels: "),
    "too many levels": ({"levels": 60}, ValueError, "levels: "),
    "no coarse cell": ({"coarse": 0}, ValueError, "coarse: "),
    "an audit below 0": ({"audit": -1}, ValueError, "audit: "),
    "a seed below 0": ({"seed": -1}, ValueError, "seed: "),
    "label is no function": ({"label": 3}, TypeError, "label: "),
    "labels of another shape": ({"label": lambda runs: 0}, TypeError, "label: "),
    "labels that are no integers": ({"label": lambda runs: runs.loss}, TypeError, "label: "),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name):
    changes, error, message = BAD[name]
    given = {"problem": rates, "box": BOX, "levels": 1, "coarse": 4} | changes
    with pytest.raises(error, match=f"^{message}"):
        refine(**given)
