"""Is what the disconnectivity graph shows what the graph holds?"""

import numpy as np
import pytest

import gdjax
import gdjax.plot
from gdjax.basins import LandscapeGraph, Saddles
from gdjax.basins.barriers import direct_heights, lowest_heights

pytest.importorskip("matplotlib")
from matplotlib.collections import LineCollection


def graph_of(loss, edges):
    """A graph of minima with these losses, and saddles given as {(one, other): loss}."""
    count = len(loss)
    minima = gdjax.Attractors(
        params=np.arange(2.0 * count).reshape(count, 2),
        loss=np.array(loss),
        **{
            name: np.ones(count)
            for name in gdjax.Attractors._fields
            if name not in ("params", "loss")
        },
    )
    pairs = np.array(list(edges), int).reshape(-1, 2)
    height = np.array(list(edges.values()), float)
    saddles = Saddles(pairs * 1.0, height, height * 0, height * 0 - 1, pairs, pairs[:, 0] * 0 + 1)
    heights = lowest_heights(direct_heights(pairs, height, count), minima.loss)
    return LandscapeGraph(minima, saddles, heights, pairs, pairs[:, 0] * 0)


CHAIN = graph_of([-3.0, -1.0, -2.0, -2.5], {(0, 1): 0.5, (1, 2): -0.5, (2, 3): 2.0, (0, 2): 1.0})


def lines(ax):
    (collection,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [np.asarray(line) for line in collection.get_segments()]


def dots(ax):
    return np.array([line.get_xydata()[0] for line in ax.lines])


def height_between(ax, one, other):
    """The height up to which one has to climb the lines from a place to get to another."""
    joins = [line for line in lines(ax) if len(line) == 4]
    above = {one}
    for line in sorted(joins, key=lambda line: line[1, 1]):
        ends, middle = {line[0, 0], line[3, 0]}, line[[1, 2], 0].mean()
        if ends & above:
            above |= {middle, *ends}
            reached = {other}
            for lower in sorted(joins, key=lambda line: line[1, 1]):
                if lower[1, 1] <= line[1, 1] and {lower[0, 0], lower[3, 0]} & reached:
                    reached |= {lower[[1, 2], 0].mean()}
            if middle in reached:
                return line[1, 1]
    return np.inf


def test_minima_stand_at_their_losses_with_their_labels_below():
    ax = gdjax.plot.disconnectivity(CHAIN)
    names = [text.get_text() for text in ax.get_xticklabels()]
    assert sorted(names) == ["0", "1", "2", "3"]
    np.testing.assert_array_equal(dots(ax)[:, 1], CHAIN.minima.loss[[int(name) for name in names]])


def test_lines_join_at_the_heights_of_the_lowest_paths():
    ax = gdjax.plot.disconnectivity(CHAIN)
    place = {int(t.get_text()): float(x) for x, t in enumerate(ax.get_xticklabels())}
    for one in range(4):
        for other in range(one):
            shown = height_between(ax, place[one], place[other])
            assert shown == CHAIN.heights[one, other]


def test_what_is_not_connected_is_not_joined():
    ax = gdjax.plot.disconnectivity(graph_of([0.0, 1.0, 0.5], {(0, 1): 2.0}))
    joins = [line for line in lines(ax) if len(line) == 4]
    assert [line[1, 1] for line in joins] == [2.0]
    top = ax.get_ylim()[1]
    assert sorted(line[0, 1] for line in lines(ax) if len(line) == 2) == [0.5, 2.0]
    assert all(line[1, 1] == top for line in lines(ax) if len(line) == 2)


def test_one_minimum_is_one_line():
    ax = gdjax.plot.disconnectivity(graph_of([1.0], {}))
    (line,) = lines(ax)
    assert line[0].tolist() == [0, 1]


def test_many_minima_are_named_by_label_alone():
    many = graph_of(np.arange(14.0), {(i, i + 1): 20.0 + i for i in range(13)})
    ax = gdjax.plot.disconnectivity(many)
    names = [text.get_text() for text in ax.get_xticklabels()]
    assert ax.get_legend() is None
    assert sorted(names, key=int) == [str(i) for i in range(14)]


def test_few_minima_are_named_beside():
    legend = gdjax.plot.disconnectivity(graph_of([0.0, 1.0], {(0, 1): 2.0})).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["0: (0, 1)", "1: (2, 3)"]


def test_axes_given_are_drawn_on():
    ax = gdjax.plot.disconnectivity(CHAIN)
    assert gdjax.plot.disconnectivity(CHAIN, ax) is ax


def test_what_is_no_graph_is_refused():
    with pytest.raises(TypeError, match=r"^graph: expected what landscape_graph returns"):
        gdjax.plot.disconnectivity(CHAIN.minima)


def test_graph_without_minima_is_refused():
    empty = graph_of(np.zeros(0), {})
    with pytest.raises(ValueError, match=r"^graph: expected at least one minimum"):
        gdjax.plot.disconnectivity(empty)
