"""Tests of the pictures of refined maps, and of the zoom as it is dragged."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
import gdjax.plot
from gdjax import Descent
from gdjax.plot.palette import DISTINCT, NEUTRAL

pytest.importorskip("matplotlib")
from matplotlib.backend_bases import KeyEvent, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

plot: Any = gdjax.plot
BOX = {"x": (-2, 2), "y": (-1, 1)}


def wells(start):
    return Descent(gdjax.landscapes.double_well, start, optax.sgd(0.1))


def sides(pair):
    """CONVERGED, label 1, left of x = 0.5, and DIVERGED, label 2, right of it."""
    rate = jnp.where(pair["x"] < 0.5, 1.0, 3.0)
    return Descent(lambda w: w**2 / 2, 1.0, optax.sgd(rate), max_steps=300)


def label(runs):
    return np.where(runs.coords["y"] > 0.9, -1, runs.status.astype(int))


@pytest.fixture(scope="module")
def refined():
    return gdjax.basins.refine(sides, BOX, 3, label=label, coarse=8)


def mesh_of(ax):
    (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    return mesh


def cell_at(ax, x, y):
    """What the cell at a point shows: a colour or a value."""
    values = mesh_of(ax).get_array()
    rows, columns = values.shape[:2]
    return values[int((y + 1) / 2 * rows), int((x + 2) / 4 * columns)]


@pytest.mark.parametrize(
    ("point", "colour"),
    [((-1.9, -0.9), DISTINCT[0]), ((1.9, -0.9), DISTINCT[1]), ((-1.9, 0.99), NEUTRAL)],
)
def test_a_cell_has_the_colour_of_its_label(refined, point, colour):
    ax = plot.refinement(refined)
    assert to_hex(cell_at(ax, *point)) == colour.lower()
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-1, 1))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")


def test_the_legend_holds_the_share_of_each_label(refined):
    texts = [text.get_text() for text in plot.refinement(refined).get_legend().get_texts()]
    labels = refined.labels()
    shares = [100 * np.mean(labels == name) for name in (1, 2, -1)]
    assert texts == [f"{n}: {s:.3g}%" for n, s in zip(("1", "2", "none"), shares)]


def test_colours_of_levels_are_those_of_the_cells(refined):
    ax = plot.refinement(refined, colour="level")
    assert cell_at(ax, -1.9, -0.9) == 0
    assert cell_at(ax, 0.49, -0.9) == 3


def test_each_cell_is_outlined(refined):
    (lines,) = [c for c in plot.refinement(refined).collections if isinstance(c, LineCollection)]
    leaves = refined.leaves
    corners = {tuple(segment[0]) for segment in np.round(lines.get_segments(), 9)}
    expected = np.array([-2, -1]) + leaves.first * np.array([4 / 64, 2 / 64])
    assert corners == set(map(tuple, np.round(expected, 9)))


@pytest.mark.long
def test_a_map_finer_than_the_picture_is_drawn_no_finer():
    fine = gdjax.basins.refine(sides, BOX, 9, label=label, coarse=8, audit=0)
    assert fine.shape == (4096, 4096)
    ax = plot.refinement(fine)
    assert mesh_of(ax).get_array().shape[:2] == (512, 512)
    assert to_hex(cell_at(ax, 0.498, 0.0)) == DISTINCT[0].lower()
    assert to_hex(cell_at(ax, 0.502, 0.0)) == DISTINCT[1].lower()


def test_a_map_in_one_dimension_is_refused(refined):
    line = dataclasses.replace(refined, shape=(64,), dims=("x",))
    with pytest.raises(ValueError, match=r"^refined: .*two dimensions"):
        plot.refinement(line)


def test_another_colour_is_refused(refined):
    with pytest.raises(ValueError, match=r"^colour: "):
        plot.refinement(refined, colour="loss")


@pytest.fixture
def view():
    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    view = plot.zoom(sides, BOX, n=16, label=label, ax=figure.subplots())
    figure.canvas.draw()
    return view


def drag(view, one, other):
    """Press, move and release the left button of a mouse, at points of the picture."""
    canvas = view.ax.figure.canvas
    steps = [("button_press_event", one), ("motion_notify_event", other)]
    for name, point in [*steps, ("button_release_event", other)]:
        x, y = view.ax.transData.transform(point)
        button = None if name == "motion_notify_event" else 1
        canvas.callbacks.process(name, MouseEvent(name, canvas, x, y, button=button))


def press(view, key):
    canvas = view.ax.figure.canvas
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


def colour_at(view, x, y):
    image = view.ax.images[0]
    left, right, bottom, top = image.get_extent()
    pixels = image.get_array()
    column = int((x - left) / (right - left) * pixels.shape[1])
    return to_hex(pixels[int((y - bottom) / (top - bottom) * pixels.shape[0]), column])


def test_the_whole_box_is_shown_first(view):
    assert view.box == {"x": (-2, 2), "y": (-1, 1)}
    assert view.labels.shape == (16, 16)
    assert colour_at(view, -1.5, 0.0) == DISTINCT[1].lower()
    assert colour_at(view, 1.5, 0.0) == DISTINCT[2].lower()


@pytest.mark.parametrize("corners", [((0.3, -0.5), (0.8, 0.5)), ((0.8, 0.5), (0.3, -0.5))])
def test_a_dragged_rectangle_is_computed_anew(view, corners):
    drag(view, *corners)
    np.testing.assert_allclose(view.box["x"], (0.3, 0.8), atol=1e-9)
    np.testing.assert_allclose(view.ax.get_ylim(), (-0.5, 0.5), atol=1e-9)
    x = 0.3 + (np.arange(16) + 0.5) * 0.5 / 16
    np.testing.assert_array_equal(view.labels, np.where(x < 0.5, 1, 2)[:, None] * np.ones(16))
    assert colour_at(view, 0.48, 0.0) == DISTINCT[1].lower()
    assert colour_at(view, 0.52, 0.0) == DISTINCT[2].lower()


def test_a_rectangle_is_dragged_within_a_rectangle(view):
    drag(view, (0.3, -0.5), (0.8, 0.5))
    view.ax.figure.canvas.draw()
    drag(view, (0.45, -0.1), (0.55, 0.1))
    np.testing.assert_allclose(view.box["x"], (0.45, 0.55), atol=1e-9)
    assert view.ax.get_title() == "× 40"


def test_backspace_goes_back_to_the_whole_box(view):
    whole = view.labels
    drag(view, (0.3, -0.5), (0.8, 0.5))
    press(view, "a")
    assert view.box["x"] != (-2, 2)
    for _ in range(2):
        press(view, "backspace")
    assert view.box == {"x": (-2, 2), "y": (-1, 1)}
    np.testing.assert_array_equal(view.labels, whole)


@pytest.mark.parametrize("to", [(0.6, 0.0), (0.6, 0.2), (0.7, 0.0)])
@pytest.mark.parametrize("zoomed", [False, True])
def test_neither_a_click_nor_a_line_is_a_rectangle(view, zoomed, to):
    if zoomed:
        drag(view, (0.3, -0.5), (0.8, 0.5))
        view.ax.figure.canvas.draw()
    box = view.box
    drag(view, (0.6, 0.0), to)
    assert view.box == box


def test_what_has_no_numbers_left_to_be_drawn_at_is_not_zoomed_into():
    figure = Figure()
    FigureCanvasAgg(figure)
    box = {"x": (1, 1 + 2e-13), "y": (0, 1)}
    view = plot.zoom(sides, box, n=2, label=label, ax=figure.subplots())
    figure.canvas.draw()
    box = view.box
    drag(view, (1 + 5e-14, 0.2), (1 + 1e-13, 0.8))
    assert view.box == box


@pytest.mark.long
def test_a_label_keeps_its_colour_where_it_is_alone():
    figure = Figure()
    FigureCanvasAgg(figure)
    view = plot.zoom(wells, BOX, n=8, ax=figure.subplots())
    assert set(np.unique(view.labels)) == {0, 1, 2, 3}
    figure.canvas.draw()
    drag(view, (0.5, 0.5), (1.5, 0.9))
    assert (view.labels == 3).all()
    assert colour_at(view, 1.0, 0.7) == DISTINCT[3].lower()


def test_a_box_of_three_sides_is_refused():
    with pytest.raises(ValueError, match=r"^box: expected two sides"):
        plot.zoom(wells, [(0, 1)] * 3)


def test_a_size_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"^n: "):
        plot.zoom(wells, BOX, n=0)
