"""Tests of what is drawn over a map, and of the tracks: is it where the runs have it?"""

import numpy as np
import pytest

import gdjax
from gdjax.basins import LandscapeGraph, Saddles, Tracks

pytest.importorskip("matplotlib")
from matplotlib.collections import LineCollection, QuadMesh
from test_plot import make_basins

import gdjax.plot

LABELS = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [-1, 0, 1, 1]])
POINTS = np.array([[1.0, 0.6], [1.0, 2.4]])


@pytest.fixture
def basins():
    return make_basins(LABELS, POINTS, coords={"x": np.arange(3.0), "y": np.arange(4.0)})


def graph_of(points):
    nothing = np.zeros(len(points))
    saddles = Saddles(points, nothing, nothing, nothing, nothing, nothing)
    return LandscapeGraph(None, saddles, nothing, nothing, nothing)


def crosses_of(ax):
    lines = [line for line in ax.lines if line.get_marker() == "x"]
    return lines[-1].get_xydata().tolist() if lines else []


def test_borders_are_the_sides_of_cells_of_two_labels(basins):
    ax = gdjax.plot.basin_map(basins, border=True)
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert {tuple(map(tuple, side.tolist())) for side in lines.get_segments()} == {
        ((1.5, -0.5), (1.5, 0.5)),  # left of the start without a label
        ((1.5, 0.5), (2.5, 0.5)),  # above it
        ((-0.5, 1.5), (2.5, 1.5)),  # one line along three cells
    }
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 2.5), (-0.5, 3.5))


def test_more_steps_are_darker_but_without_a_label_all_are_alike(basins):
    steps = np.array([[1, 9, 1, 1], [3, 9, 1, 1], [9, 9, 1, 1]])
    ax = gdjax.plot.basin_map(basins, steps=steps)
    plain = gdjax.plot.basin_map(basins)
    shaded, full = (
        next(c for c in a.collections if isinstance(c, QuadMesh)).get_array().reshape(4, 3, 3)
        for a in (ax, plain)
    )
    brightness = shaded.sum(axis=-1) / full.sum(axis=-1)
    assert brightness[0, 0] == 1 > brightness[0, 1] > brightness[1, 0] > 0.2
    assert brightness[0, 2] == 1


def test_crosses_mark_the_saddles_of_the_graph_that_lie_in_the_picture(basins):
    ax = gdjax.plot.basin_map(basins, graph=graph_of(np.array([[1.0, 1.5], [9.0, 0.0]])))
    assert crosses_of(ax) == [[1.0, 1.5]]


def test_crosses_mark_saddles_that_starts_lead_to(basins):
    verdict = np.array([gdjax.Verdict.MINIMUM, gdjax.Verdict.SADDLE], np.int8)
    table = basins.attractors._replace(verdict=verdict)
    found = gdjax.Basins(basins.labels, table, basins.dims, basins.coords)
    assert crosses_of(gdjax.plot.basin_map(found)) == [[1.0, 2.4]]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"steps": np.ones((4, 3))}, ValueError, r"^steps: expected the shape of the labels"),
        ({"steps": np.full((3, 4), "a")}, TypeError, r"^steps: expected real numbers"),
        ({"steps": np.full((3, 4), np.nan)}, ValueError, r"^steps: expected finite"),
        ({"graph": 3}, TypeError, r"^graph: "),
    ],
)
def test_what_cannot_be_drawn_over_a_map_is_refused(basins, given, error, message):
    with pytest.raises(error, match=message):
        gdjax.plot.basin_map(basins, **given)


def test_scattered_starts_have_no_borders():
    coords = {"start": np.arange(2), "a": np.arange(2.0), "b": np.arange(2.0)}
    scattered = make_basins([0, 1], POINTS, ("start",), coords)
    with pytest.raises(ValueError, match=r"^border: "):
        gdjax.plot.basin_map(scattered, border=True)


@pytest.fixture
def tracks():
    """The second attractor is born at the second rate; the first dies after it, past its limit."""
    label = np.array([[0, 0, -1, -1], [-1, 3, 3, 3]])
    share = np.array([[0.5, 0.25, 0.0, 0.0], [0.0, 0.5, 0.75, 1.0]])
    limit = np.array([[0.3] * 4, [np.nan] * 4])
    return Tracks(np.array([0.1, 0.2, 0.4, 0.8]), label, share, limit[:, 0], limit[:, 0], limit)


def test_tracks_run_from_birth_to_death(tracks):
    ax = gdjax.plot.tracks(tracks)
    lines = [line.get_xydata().tolist() for line in ax.lines if line.get_linestyle() == "-"]
    assert [[0.1, 0.5], [0.2, 0.25]] in lines
    assert [[0.2, 0.5], [0.4, 0.75], [0.8, 1.0]] in lines
    deaths = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xydata().tolist() for line in deaths] == [[[0.2, 0.25]]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "3"]
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "learning_rate")


@pytest.mark.parametrize(("limits", "at"), [(True, [0.3, 0.3]), (False, None)])
def test_a_limit_is_drawn_where_the_rates_pass_it(tracks, limits, at):
    ax = gdjax.plot.tracks(tracks, limits=limits)
    dotted = [list(line.get_xdata()) for line in ax.lines if line.get_linestyle() == ":"]
    assert dotted == ([at] if at else [])


def test_what_is_no_track_is_refused():
    with pytest.raises(TypeError, match=r"^found: "):
        gdjax.plot.tracks(3)


def test_rates_over_little_more_than_a_decade_have_few_labels_that_differ():
    rates = np.geomspace(2e-3, 3e-2, 4)
    still = np.zeros((1, 4))
    ax = gdjax.plot.tracks(Tracks(rates, still.astype(int), still + 1, still, still, still))
    ax.figure.draw_without_rendering()
    texts = [label.get_text() for label in ax.get_xticklabels(which="both") if label.get_text()]
    assert texts == ["0.001", "0.002", "0.005", "0.01", "0.02", "0.05"]
