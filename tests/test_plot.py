"""Tests of the pictures: is what they show what the runs hold?"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
import gdjax.plot
from gdjax.plot.cells import cells_along
from gdjax.plot.colouring import label_colours
from gdjax.plot.palette import DISTINCT, MUTED, NEUTRAL
from gdjax.record import Series

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.collections import LineCollection, PathCollection, QuadMesh  # noqa: E402
from matplotlib.colors import BoundaryNorm, LogNorm, Normalize, to_hex, to_rgb  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

plot: Any = gdjax.plot  # the Axes are looked into, further than matplotlib's types reach
X, Y = np.linspace(-2.5, 2.5, 6), np.linspace(-0.75, 0.75, 4)


def make_basins(labels, points, dims=("x", "y"), coords=None, loss=None):
    """A map whose minima are at the points, given as columns by name or as rows."""
    points = {k: np.array(v) for k, v in points.items()} if isinstance(points, dict) else points
    count = len(jax.tree.leaves(points)[0])
    labels = np.asarray(labels, np.int32)
    attractors = gdjax.Attractors(
        params=points,
        loss=np.arange(count) / 4 if loss is None else np.asarray(loss),
        loss_error=np.full(count, 1e-6),
        curvature_min=np.ones(count),
        curvature_max=np.ones(count),
        size=np.bincount(labels[labels >= 0], minlength=count),
        verdict=np.zeros(count, np.int8),
        index=np.zeros(count, np.int32),
        flat_dimension=np.zeros(count, np.int32),
        period=np.zeros(count, np.int32),
        falls_to=np.full((count, 2), -1, np.int32),
        orbits=points,
    )
    return gdjax.Basins(labels, attractors, dims, {"x": X, "y": Y} if coords is None else coords)


@pytest.fixture
def asymmetric():
    """Label 1 right of x = 1, label -1 in the corner of low x and high y, label 0 elsewhere."""
    labels = np.zeros((6, 4), np.int32)
    labels[4:] = 1
    labels[0, 3] = -1
    return make_basins(labels, np.array([[-1.25, 0.1], [2.0, -0.2]]))


@pytest.fixture(scope="module")
def rates():
    """Runs over 5 starts and 4 learning rates: the two highest rates diverge, but from 0."""
    return gdjax.sweep(
        lambda start, learning_rate: gdjax.Descent(
            lambda w: 1 + w**2, start, optax.sgd(learning_rate), max_steps=2000
        ),
        start=jnp.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        learning_rate=jnp.geomspace(1e-3, 10.0, 5),
    )


def mesh_of(ax) -> Any:
    (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    return mesh


def edges_of(ax) -> tuple[np.ndarray, np.ndarray]:
    corners = mesh_of(ax).get_coordinates()
    return corners[0, :, 0], corners[:, 0, 1]


def cell_at(ax, x, y):
    """What is drawn at a point: a colour, or a value."""
    x_edges, y_edges = edges_of(ax)
    column, row = np.searchsorted(x_edges, x) - 1, np.searchsorted(y_edges, y) - 1
    values = mesh_of(ax).get_array()
    assert values is not None
    return values.reshape(len(y_edges) - 1, len(x_edges) - 1, *values.shape[2:])[row, column]


def texts_of(ax) -> list[str]:
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def stars_of(ax) -> list[tuple[float, float]]:
    return [tuple(point) for line in ax.lines for point in line.get_xydata().tolist()]


def colour_bar_of(ax):
    (bar,) = [a for a in ax.figure.axes if a is not ax]
    return bar


# The map of basins


@pytest.mark.parametrize(
    ("start", "colour"),
    [
        ((2.4, -0.7), DISTINCT[1]),
        ((2.4, 0.7), DISTINCT[1]),
        ((-2.4, -0.7), DISTINCT[0]),
        ((-2.4, 0.7), NEUTRAL),
    ],
)
def test_the_cell_at_a_start_has_the_colour_of_its_label(asymmetric, start, colour):
    assert to_hex(cell_at(plot.basin_map(asymmetric), *start)) == colour.lower()


def test_the_first_dimension_runs_along_x(asymmetric):
    ax = plot.basin_map(asymmetric)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")
    assert (ax.get_xlim(), ax.get_ylim()) == ((-3.0, 3.0), (-1.0, 1.0))


@pytest.mark.long
def test_cells_are_centred_on_the_starts_of_a_grid():
    runs = gdjax.sweep(
        lambda start: gdjax.Descent(gdjax.landscapes.double_well, start, optax.sgd(0.1)),
        start=gdjax.grid(x=(-2, 2, 6), y=(-1, 1, 4)),
    )
    x_edges, y_edges = edges_of(plot.basin_map(gdjax.map_basins(runs)))
    np.testing.assert_allclose(x_edges, np.linspace(-2, 2, 7), atol=1e-4)
    np.testing.assert_allclose(y_edges, np.linspace(-1, 1, 5), atol=1e-4)


def test_a_descending_coordinate_is_drawn_in_its_place(asymmetric):
    turned = dataclasses.replace(
        asymmetric, labels=asymmetric.labels[::-1], coords={"x": X[::-1], "y": Y}
    )
    assert to_hex(cell_at(plot.basin_map(turned), 2.4, -0.7)) == DISTINCT[1].lower()


def test_the_legend_holds_minimum_loss_share_and_interval(asymmetric):
    shares = gdjax.basins.fractions(asymmetric.labels)
    numbers = 100 * np.stack([shares.share, shares.low, shares.high], axis=1)
    none, first, second = ["{:.3g}% [{:.3g}, {:.3g}]".format(*row) for row in numbers]
    assert texts_of(plot.basin_map(asymmetric)) == [
        f"(−1.25, 0.1), loss 0\n{first}",
        f"(2, −0.2), loss 0.25\n{second}",
        f"no minimum\n{none}",
    ]


def test_a_label_that_does_not_occur_is_not_in_the_legend(asymmetric):
    left = dataclasses.replace(asymmetric, labels=np.zeros((6, 4), np.int32))
    assert texts_of(plot.basin_map(left)) == ["(−1.25, 0.1), loss 0\n100% [86.2, 100]"]


def test_minima_are_marked_at_their_parameters(asymmetric):
    assert stars_of(plot.basin_map(asymmetric)) == [(-1.25, 0.1), (2.0, -0.2)]


def test_minima_in_a_dict_are_marked_by_the_names_of_the_dimensions(asymmetric):
    points = {"x": [0.1, -0.2], "y": [-1.25, 2.0]}
    named = make_basins(asymmetric.labels, points, ("y", "x"), {"y": X, "x": Y})
    assert stars_of(plot.basin_map(named)) == [(-1.25, 0.1), (2.0, -0.2)]


def test_minima_outside_the_axes_are_not_marked(asymmetric):
    outside = make_basins(asymmetric.labels, np.array([[-1.25, 0.1], [9.0, 0.0]]))
    assert stars_of(plot.basin_map(outside)) == [(-1.25, 0.1)]


def test_minima_are_not_marked_on_a_map_over_something_else(asymmetric):
    swapped = make_basins(asymmetric.labels, np.array([[2.0, -0.2], [-1.25, 0.1]]))
    assert stars_of(plot.basin_map(swapped)) == []


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (np.array([-1.5]), "−1.5, loss 0"),
        (np.zeros((1, 3)), "(0, 0, 0), loss 0"),
        (np.zeros((1, 9)), "minimum 0, loss 0"),
        (np.array([1 + 2j]), "(1, 2), loss 0"),
    ],
)
def test_minima_that_are_not_on_the_axes_are_not_marked(points, text):
    ax = plot.basin_map(make_basins(np.zeros((6, 4)), points))
    assert stars_of(ax) == []
    assert texts_of(ax)[0].splitlines()[0] == text


def test_a_map_without_minima_is_grey():
    ax = plot.basin_map(make_basins(np.full((6, 4), -1), np.zeros((0, 2))))
    assert to_hex(cell_at(ax, 0.1, 0.1)) == NEUTRAL.lower()
    assert texts_of(ax)[0].startswith("no minimum\n100%")


def test_x_and_y_have_one_scale_where_the_sides_are_alike(asymmetric):
    assert plot.basin_map(asymmetric).get_aspect() == 1
    long = dataclasses.replace(asymmetric, coords={"x": 100 * X, "y": Y})
    assert plot.basin_map(long).get_aspect() == "auto"


def test_more_than_eight_minima_are_summed_up_as_others():
    labels = np.repeat(np.arange(10), [9, 9, 9, 9, 1, 9, 9, 9, 9, 3]).reshape(4, 19)
    coords = {"x": np.arange(4.0), "y": np.arange(19.0)}
    texts = texts_of(plot.basin_map(make_basins(labels, np.zeros((10, 9)), coords=coords)))
    names = [text.split(",")[0] for text in texts[:-1]]
    assert names == [f"minimum {label}" for label in (0, 1, 2, 3, 5, 6, 7, 8)]
    assert texts[-1].startswith("2 others\n5.26%")


def test_smaller_basins_that_touch_differ_in_colour():
    labels = np.arange(100).reshape(10, 10)
    colours = np.array(label_colours(labels, np.ones(100, int)))[labels]
    muted = np.isin(colours, MUTED)
    for step in ((1, 0), (0, 1), (1, 1)):
        one, other = colours[step[0] :, step[1] :], colours[: 10 - step[0], : 10 - step[1]]
        both = muted[step[0] :, step[1] :] & muted[: 10 - step[0], : 10 - step[1]]
        assert (one[both] != other[both]).all()
    assert muted.sum() == 92


def test_scattered_starts_are_points_in_the_colour_of_their_label():
    coords = {"start": np.arange(3), "a": np.array([0.0, 1.0, 2.0]), "b": np.array([0.0, 3.0, 1.0])}
    basins = make_basins([1, -1, 0], {"a": [2.0, 0.0], "b": [1.0, 0.0]}, ("start",), coords)
    ax = plot.basin_map(basins)
    (points,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert np.asarray(points.get_offsets()).tolist() == [[0, 0], [1, 3], [2, 1]]
    assert [to_hex(c) for c in np.asarray(points.get_facecolor())] == [
        DISTINCT[1].lower(),
        NEUTRAL.lower(),
        DISTINCT[0].lower(),
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")
    assert stars_of(ax) == [(2.0, 1.0), (0.0, 0.0)]


def test_a_map_over_three_dimensions_is_refused_with_a_way_out(asymmetric):
    cube = dataclasses.replace(asymmetric, labels=np.zeros((6, 4, 2), int), dims=("x", "y", "z"))
    with pytest.raises(ValueError, match=r"basins: .*two dimensions.*got.*'z'.*replace"):
        plot.basin_map(cube)


def test_scattered_starts_of_three_components_are_refused():
    coords = {"start": np.arange(3), **{name: np.arange(3.0) for name in "abc"}}
    with pytest.raises(ValueError, match=r"basins: .*two components.*'a', 'b', 'c'"):
        plot.basin_map(make_basins([0, 0, 0], np.zeros((1, 3)), ("start",), coords))


def test_runs_are_not_a_map(rates):
    with pytest.raises(TypeError, match=r"basins: expected what gdjax\.map_basins returns"):
        plot.basin_map(rates)


# The heat map


def test_a_cell_of_the_heat_map_holds_the_number_of_its_run(rates):
    ax = plot.heat_map(rates, "steps")
    assert cell_at(ax, 4.0, 1e-2) == rates.steps[3, 1]
    assert cell_at(ax, 2.0, 1e-3) == rates.steps[1, 0]


def test_cells_of_a_geometric_coordinate_end_halfway_on_the_logarithmic_scale(rates):
    _, y_edges = edges_of(plot.heat_map(rates))
    np.testing.assert_allclose(y_edges, 10.0 ** np.arange(-3.5, 2.0), rtol=1e-3)


@pytest.mark.parametrize(
    ("values", "edges", "is_geometric"),
    [
        ([1.0, 2.0, 3.0], [0.5, 1.5, 2.5, 3.5], False),
        ([1.0, 2.0, 4.0], np.sqrt([0.5, 2.0, 8.0, 32.0]), True),
        ([1.0, 2.0, 5.0], [0.5, 1.5, 3.5, 6.5], False),
        ([-4.0, -2.0, -1.0], [-5.0, -3.0, -1.5, -0.5], False),
        ([3.0, 1.0, 2.0], [0.5, 1.5, 2.5, 3.5], False),
        ([1.0, 10.0], [-3.5, 5.5, 14.5], False),
        ([7.0], [6.5, 7.5], False),
    ],
)
def test_edges_of_cells(values, edges, is_geometric):
    cells = cells_along({"a": values}, "a")
    np.testing.assert_allclose(cells.edges, edges, rtol=1e-4)
    assert cells.is_geometric == is_geometric


def test_equal_values_along_a_dimension_are_refused():
    with pytest.raises(ValueError, match=r"coords\['a'\]: expected finite values, all different"):
        cells_along({"a": [1.0, 1.0]}, "a")


def test_a_complex_axis_is_refused():
    runs = gdjax.sweep(
        lambda start, rate: gdjax.Descent(lambda w: jnp.abs(w) ** 2, start, optax.sgd(rate)),
        start=np.array([1.0, 1j]),
        rate=[0.1, 0.2],
    )
    with pytest.raises(ValueError, match=r"coords\['start'\]: expected real values, got"):
        plot.heat_map(runs)


def test_only_a_geometric_coordinate_has_a_logarithmic_scale(rates):
    ax = plot.heat_map(rates)
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")


def test_diverged_runs_are_masked_and_named(rates):
    diverged = rates.status == gdjax.Status.DIVERGED
    assert 0 < diverged.sum() < diverged.size
    ax = plot.heat_map(rates, "loss")
    np.testing.assert_array_equal(np.ma.getmaskarray(mesh_of(ax).get_array()).T, diverged)
    assert ax.patch.get_facecolor()[:3] == to_rgb(NEUTRAL)
    assert ax.patch.get_hatch()
    assert texts_of(ax) == ["diverged"]


def test_without_diverged_runs_there_is_no_legend(rates):
    tame = dataclasses.replace(rates, status=np.full(rates.shape, gdjax.Status.CONVERGED))
    assert texts_of(plot.heat_map(tame)) == []


def test_all_runs_diverged_is_a_picture_too(rates):
    wild = dataclasses.replace(rates, status=np.full(rates.shape, gdjax.Status.DIVERGED))
    ax = plot.heat_map(wild)
    ax.figure.draw_without_rendering()
    assert texts_of(ax) == ["diverged"]


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(1.0, 1000.0, LogNorm), (1.0, 50.0, Normalize), (0.0, 1000.0, Normalize), (3, 3, Normalize)],
)
def test_colours_are_logarithmic_over_more_than_two_decades_above_zero(rates, low, high, kind):
    runs = dataclasses.replace(
        rates, loss=np.linspace(low, high, 25).reshape(5, 5), status=np.ones((5, 5), np.int8)
    )
    ax = plot.heat_map(runs, "loss")
    assert type(mesh_of(ax).norm) is kind
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize("field", ["steps", "loss", "grad_norm", "status"])
def test_the_colour_bar_names_the_field(rates, field):
    assert field in colour_bar_of(plot.heat_map(rates, field)).get_ylabel()


def test_each_status_has_its_colour_and_name(rates):
    ax = plot.heat_map(rates, "status")
    present = np.unique(rates.status)
    names = [gdjax.Status(code).name.lower().replace("_", " ") for code in present]
    assert [t.get_text() for t in colour_bar_of(ax).get_yticklabels()] == names
    assert isinstance(mesh_of(ax).norm, BoundaryNorm)
    drawn = mesh_of(ax).to_rgba(mesh_of(ax).get_array())
    diverged = (rates.status == gdjax.Status.DIVERGED).T
    assert (drawn[diverged] == [*to_rgb(NEUTRAL), 1]).all()
    assert not (drawn[~diverged] == [*to_rgb(NEUTRAL), 1]).all(axis=-1).any()


def test_runs_over_one_dimension_are_refused():
    runs = gdjax.sweep(
        lambda start: gdjax.Descent(lambda w: w**2, start, optax.sgd(0.1)), start=[1.0, 2.0]
    )
    with pytest.raises(ValueError, match=r"runs: expected two dimensions, got \('start',\)"):
        plot.heat_map(runs)


def test_an_unknown_field_is_refused(rates):
    with pytest.raises(ValueError, match="field: expected one of steps, loss, grad_norm, status"):
        plot.heat_map(rates, "curvature")


# The loss curves


def series_of(steps: Any, values: Any) -> Series:
    return Series(np.asarray(steps), values)  # type: ignore[arg-type]


def history(*lanes: list[float], end: int = 4) -> Series:
    """Lanes with a step each; all but the first stop at step `end`."""
    values = np.array(lanes)
    steps = np.tile(np.arange(values.shape[1], dtype=np.int32), (len(lanes), 1))
    steps[1:] = np.minimum(steps[1:], end)
    return series_of(steps, values)


def test_the_curve_is_the_series():
    series = series_of(np.array([0, 10, 20]), np.array([3.0, 2.0, 2.5]))
    ax = plot.loss_curves(series)
    assert stars_of(ax) == [(0, 3.0), (10, 2.0), (20, 2.5)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "loss")


def test_the_padding_after_the_end_is_not_drawn():
    ax = plot.loss_curves(history([4.0, 3, 2, 1], [4.0, 2, 2, 2], end=1))
    assert ax.lines[0].get_xdata().tolist() == [0, 1, 2, 3]
    assert ax.lines[1].get_xydata().tolist() == [[0, 4], [1, 2]]


def test_a_run_that_ended_at_its_start_is_a_point():
    ax = plot.loss_curves(series_of(np.array([0, 0]), np.array([1.0, 1.0])))
    assert ax.lines[0].get_xydata().tolist() == [[0, 1]]
    assert ax.lines[0].get_marker() == "."


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([100.0, 1.0], "log"),
        ([5.0, 1.0], "linear"),
        ([100.0, 0.0], "linear"),
        ([100.0, -1.0], "linear"),
        ([100.0, 1.0, np.inf], "log"),
        ([np.nan, np.nan], "linear"),
    ],
)
def test_the_scale_of_the_loss(values, scale):
    ax = plot.loss_curves(series_of(np.arange(len(values)), np.array(values)))
    assert ax.get_yscale() == scale
    ax.figure.draw_without_rendering()


def test_curves_are_named_by_the_values_of_the_sweep():
    runs = gdjax.sweep(
        lambda learning_rate: gdjax.Descent(
            lambda w: w**2,
            1.0,
            optax.sgd(learning_rate),
            max_steps=9,
            record=gdjax.record.every(1),
        ),
        learning_rate=[0.125, 0.25],
    )
    ax = plot.loss_curves(runs)
    assert texts_of(ax) == ["0.125", "0.25"]
    assert ax.get_legend().get_title().get_text() == "learning_rate"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), runs.record.values[0])


def test_curves_are_named_by_the_keys_of_a_mapping():
    ax = plot.loss_curves({"sgd": history([2.0, 1.0]), "adam": history([2.0, 0.5, 0.1])})
    assert texts_of(ax) == ["sgd", "adam"]


def test_curves_are_named_by_labels():
    assert texts_of(plot.loss_curves(history([2.0, 1], [2.0, 0]), labels=["a", "b"])) == ["a", "b"]


def test_a_wrong_number_of_labels_is_refused():
    with pytest.raises(ValueError, match="labels: expected 2 of them, got 1"):
        plot.loss_curves(history([2.0, 1.0], [2.0, 0.0]), labels=["a"])


def test_a_single_curve_has_no_legend():
    assert texts_of(plot.loss_curves(series_of(np.arange(2), np.array([2.0, 1.0])))) == []


def test_many_curves_are_thin_with_their_median():
    series = history(*[[lane, lane + 1.0, lane + 4.0] for lane in range(9)], end=1)
    ax = plot.loss_curves(series)
    (lanes,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(lanes.get_segments()) == 9
    np.testing.assert_array_equal(lanes.get_segments()[1], [[0, 1], [1, 2]])
    assert stars_of(ax) == [(0, 4), (1, 5), (2, 5)]
    assert texts_of(ax) == ["9 runs", "median"]
    assert ax.get_ylim()[1] > 9


def median_of(*last: float) -> float:
    """The median at the end of nine curves: these, and others of loss 1."""
    lanes = [[9.0, value] for value in last] + [[9.0, 1.0]] * (9 - len(last))
    return stars_of(plot.loss_curves(history(*lanes)))[-1][1]


def test_a_run_that_diverged_keeps_its_last_loss_in_the_median():
    grows = gdjax.sweep(
        lambda start: gdjax.Descent(
            lambda w: w**2, start, optax.sgd(10.0), max_steps=99, record=gdjax.record.every(1)
        ),
        start=np.arange(1.0, 10.0),
    )
    assert (grows.status == gdjax.Status.DIVERGED).all()
    assert stars_of(plot.loss_curves(grows))[-1][1] == np.median(grows.loss)


@pytest.mark.parametrize(
    ("value", "median"), [(np.nan, np.inf), (np.inf, np.inf), (-np.inf, -np.inf), (3.0, 3.0)]
)
def test_a_loss_that_is_no_number_counts_as_infinitely_high_in_the_median(value, median):
    assert median_of(*[value] * 5) == median
    assert median_of(*[value] * 4) == 1.0


def test_values_of_several_numbers_a_step_are_refused():
    with pytest.raises(ValueError, match=r"series: expected one number a step.*got \(3, 2\)"):
        plot.loss_curves(series_of(np.arange(3), np.zeros((3, 2))))


def test_several_runs_under_one_name_are_refused():
    with pytest.raises(ValueError, match=r"series\['sgd'\]: expected a single run, got 2"):
        plot.loss_curves({"sgd": history([2.0, 1.0], [2.0, 1.0])})


def test_runs_without_a_history_are_refused(rates):
    with pytest.raises(TypeError, match="series: expected runs whose record is a"):
        plot.loss_curves(rates)


def test_an_array_is_not_a_series():
    with pytest.raises(TypeError, match=r"series: expected a gdjax\.record\.Series"):
        plot.loss_curves(np.zeros(3))


# The surface


def bowl(w):
    return w[0] ** 2 + 100 * w[1] ** 2


def test_the_domain_is_that_of_the_landscape():
    camel = gdjax.landscapes.six_hump_camel
    ax = plot.surface(camel, resolution=20)
    assert (ax.get_xlim(), ax.get_ylim()) == camel.domain


def test_the_first_parameter_runs_along_x():
    ax = plot.surface(lambda w: w[0], ((0, 1), (0, 2)), resolution=20)
    borders = np.concatenate([p.vertices for p in ax.collections[1].get_paths() if len(p.vertices)])
    assert len(np.unique(borders[:, 0].round(6))) < len(np.unique(borders[:, 1].round(6)))


def test_levels_reach_from_the_lowest_loss_to_the_highest_and_crowd_at_the_lowest():
    ax = plot.surface(bowl, ((-1, 1), (-1, 1)), resolution=21)
    low, high = colour_bar_of(ax).get_ylim()
    np.testing.assert_allclose([low, high], [0, 101], rtol=1e-5)
    levels = ax.collections[0].levels
    assert np.median(levels) < 25


@pytest.mark.parametrize(
    "path",
    [
        series_of(np.arange(3), np.array([[0.0, 0.0], [0.5, 0.25], [1.0, 0.75]])),
        series_of(np.arange(3), {"x": np.array([0, 0.5, 1]), "y": np.array([0, 0.25, 0.75])}),
        np.array([[0.0, 0.0], [0.5, 0.25], [1.0, 0.75]]),
    ],
    ids=["vectors", "dict", "array"],
)
def test_a_trajectory_runs_through_its_parameters(path):
    ax = plot.surface(bowl, ((-1, 1), (-1, 1)), [path], resolution=5)
    line, start, end = (line.get_xydata().tolist() for line in ax.lines)
    assert line == [[0, 0], [0.5, 0.25], [1, 0.75]]
    assert (start, end) == ([[0, 0]], [[1, 0.75]])
    assert texts_of(ax) == ["start", "end"]


def test_where_the_loss_is_not_finite_the_surface_is_grey():
    ax = plot.surface(lambda w: jnp.log(w[0]) + w[1], ((-1, 1), (0, 1)), resolution=20)
    assert ax.get_facecolor()[:3] == to_rgb(NEUTRAL)
    drawn = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    assert drawn[:, 0].min() > 0


def test_a_constant_loss_is_a_picture_too():
    ax = plot.surface(lambda w: 0 * w[0] + 3, ((-1, 1), (0, 1)), resolution=5)
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": None}, "domain: expected .* as this loss has no domain"),
        ({"domain": ((0, 1), (0, 1), (0, 1))}, "domain: expected"),
        ({"domain": ((0, 1), (1, 0))}, r"domain\[1\]: expected lower bound < upper bound"),
        ({"loss": lambda w: w}, r"loss: expected a scalar, got an array of shape \(2,\)"),
        ({"loss": lambda w: w[0] * jnp.nan}, "loss: expected a finite value somewhere"),
        ({"trajectories": [np.zeros((4, 3))]}, r"trajectories\[0\]: .* shape \(4, 3\)"),
        ({"trajectories": [np.zeros((0, 2))]}, r"trajectories\[0\]: .* shape \(0, 2\)"),
        ({"resolution": 1}, "resolution: expected a whole number of at least 2"),
    ],
)
def test_what_no_surface_can_be_drawn_of_is_refused(changes, message):
    given = {"loss": bowl, "domain": ((-1, 1), (-1, 1)), "resolution": 4}
    with pytest.raises(ValueError, match=message):
        plot.surface(**(given | changes))


# The phase diagram

NAMES = {0: "settles", 2: "diverged", 3: "bounded"}


@pytest.fixture
def phases():
    labels = np.zeros((6, 4), np.int8)
    labels[4:] = 2
    labels[0, 3] = 3
    return labels


@pytest.mark.parametrize(
    ("place", "colour"),
    [((2.4, 0.7), NEUTRAL), ((-2.4, -0.7), DISTINCT[0]), ((-2.4, 0.7), DISTINCT[2])],
)
def test_a_cell_of_the_phase_diagram_has_the_colour_of_its_label(phases, place, colour):
    ax = plot.phase_diagram(phases, {"x": X, "y": Y}, NAMES)
    assert to_hex(cell_at(ax, *place)) == colour.lower()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")


def test_the_legend_of_the_phase_diagram_names_the_labels_that_occur(phases):
    assert texts_of(plot.phase_diagram(phases, {"x": X, "y": Y}, NAMES)) == [*NAMES.values()]
    assert texts_of(plot.phase_diagram(phases[:3, :3], {"x": X[:3], "y": Y[:3]}, NAMES)) == [
        "settles"
    ]


def test_a_label_keeps_its_colour_where_others_do_not_occur(phases):
    ax = plot.phase_diagram(phases[:1, 3:], {"x": X[:1], "y": Y[3:]}, NAMES)
    assert to_hex(cell_at(ax, X[0], Y[3])) == DISTINCT[2].lower()


def test_runs_are_drawn_by_their_status(rates):
    ax = plot.phase_diagram(rates.status, rates.coords, gdjax.Status)
    assert ax.get_yscale() == "log"
    assert set(texts_of(ax)) == {
        gdjax.Status(code).name.lower().replace("_", " ") for code in np.unique(rates.status)
    }


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels": np.zeros((6, 4))}, TypeError, "^labels: "),
        ({"labels": np.zeros((4, 6), int)}, ValueError, "^labels: "),
        ({"coords": {"x": X}}, ValueError, "^labels: "),
        ({"names": {1: "one"}}, ValueError, "^names: "),
        ({"names": dict.fromkeys(range(15), "many")}, ValueError, "^names: "),
    ],
)
def test_what_no_phase_diagram_can_be_drawn_of_is_refused(changes, error, message):
    given = {"labels": np.zeros((6, 4), int), "coords": {"x": X, "y": Y}, "names": NAMES}
    with pytest.raises(error, match=message):
        plot.phase_diagram(**(given | changes))


# The range test


def ranges(losses, smoothed=None, suggestion=1e-2, largest=1e-1):
    losses = np.asarray(losses)
    rates = np.geomspace(1e-2, 1.0, len(losses))
    smoothed = losses if smoothed is None else np.asarray(smoothed)
    return gdjax.RangeTest(rates, losses, smoothed, suggestion, largest)


def test_the_range_test_is_drawn_against_the_logarithm_of_the_rate():
    test = ranges([2.0, 1.0, 3.0])
    ax = plot.range_test(test)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.stack(test[:2], axis=1))
    assert ax.get_xscale() == "log"


def test_both_rates_of_a_range_test_are_marked_and_named():
    ax = plot.range_test(ranges([2.0, 1.0, 3.0]))
    assert [float(line.get_xdata()[0]) for line in ax.lines[1:]] == [1e-2, 1e-1]
    assert texts_of(ax) == ["loss", "fastest fall, 0.01", "before it rises, 0.1"]


def test_without_a_suggestion_none_is_marked():
    ax = plot.range_test(ranges([2.0, np.inf, np.inf], suggestion=np.nan, largest=np.nan))
    assert texts_of(ax) == ["loss"]


def test_noisy_losses_are_drawn_with_their_median():
    ax = plot.range_test(ranges([2.0, 1.0, 3.0], [2.0, 2.0, 2.0]))
    assert texts_of(ax)[:2] == ["loss", "running median"]


def test_losses_beyond_the_largest_rate_do_not_set_the_scale():
    assert plot.range_test(ranges([2.0, 1.0, 1e9])).get_ylim()[1] < 3.0
    assert plot.range_test(ranges([2.0, 1e-3, 1e9])).get_yscale() == "log"


@pytest.mark.parametrize(
    ("test", "error"),
    [
        (np.ones(3), TypeError),
        (ranges(np.ones((3, 2)))._replace(rates=np.ones((3, 2))), ValueError),
    ],
)
def test_what_is_no_range_test_is_refused(test, error):
    with pytest.raises(error, match=r"^test: "):
        plot.range_test(test)


# All pictures

DRAWN = {
    "basin_map": lambda ax: plot.basin_map(make_basins(np.zeros((6, 4)), np.zeros((1, 2))), ax),
    "surface": lambda ax: plot.surface(bowl, ((-1, 1), (-1, 1)), ax=ax, resolution=4),
    "loss_curves": lambda ax: plot.loss_curves(history([2.0, 1.0]), ax),
    "phase_diagram": lambda ax: plot.phase_diagram(
        np.zeros((6, 4), int), {"x": X, "y": Y}, NAMES, ax
    ),
    "range_test": lambda ax: plot.range_test(ranges([2.0, 1.0, 3.0]), ax),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_the_axes_given_are_drawn_on_and_returned(draw):
    ax = Figure().subplots()
    assert draw(ax) is ax


def test_the_heat_map_is_drawn_on_the_axes_given(rates):
    ax = Figure().subplots()
    assert plot.heat_map(rates, ax=ax) is ax


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_a_figure_in_place_of_axes_is_refused(draw):
    with pytest.raises(TypeError, match="ax: expected a matplotlib Axes"):
        draw(Figure())


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_without_matplotlib_the_error_says_how_to_get_it(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gdjax\[plot\]'"):
        draw(None)


def test_nothing_is_cut_off_at_the_default_size(asymmetric):
    ax = plot.basin_map(
        make_basins(
            np.arange(576).reshape(24, 24) % 20 - 1,
            np.linspace(-1, -0.001, 38).reshape(19, 2),
            coords={"x": np.linspace(-30, 30, 24), "y": np.linspace(-30, 30, 24)},
            loss=-np.arange(19) * 1e-9 / 7,
        )
    )
    figure = ax.figure
    figure.draw_without_rendering()
    drawn = ax.get_tightbbox()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= figure.bbox.x1
    assert drawn.y1 <= figure.bbox.y1


def test_importing_gdjax_and_its_pictures_imports_no_matplotlib():
    code = "import sys, gdjax, gdjax.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pyplot_is_not_imported():
    code = (
        "import sys, numpy, gdjax.plot, gdjax.record as r;"
        "gdjax.plot.loss_curves(r.Series(numpy.arange(2), numpy.ones(2)));"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
