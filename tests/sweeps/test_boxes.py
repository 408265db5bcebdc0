import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gdjax.sweeps.boxes import Boxes, blocks, patch_sides, traced_place

shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


def lanes_of(cut, boxes):
    """Return the positions in a block at which there is a lane."""
    room = cut.lanes_a_box
    return np.concatenate([i * room + np.arange(n) for i, n in enumerate(boxes.lanes)])


@given(shapes, st.integers(1, 40), st.integers(1, 200))
@settings(deadline=None)
def test_every_lane_is_in_one_box(shape, tile, block):
    cut = blocks(shape, tile, block)
    seen = np.zeros(shape, int)
    for boxes in cut.each():
        np.add.at(seen, tuple(cut.place(lanes_of(cut, boxes), boxes)), 1)
    assert (seen == 1).all()


@given(shapes, st.integers(1, 40), st.integers(1, 200))
@settings(deadline=None)
def test_no_block_has_more_room_than_it_was_given(shape, tile, block):
    cut = blocks(shape, tile, block)
    room = max(-(-block // tile), 1) * tile
    assert all(len(boxes.lanes) * cut.lanes_a_box <= room for boxes in cut.each())


@given(shapes, st.integers(1, 40), st.integers(1, 200))
@example((2, 3, 3), 1, 9)  # a block whose boxes turn a corner
@settings(deadline=None)
def test_what_is_put_lies_where_the_lanes_are(shape, tile, block):
    cut = blocks(shape, tile, block)
    found = np.full((*shape, 2), -1)
    for boxes in cut.each():
        values = np.full((len(boxes.lanes) * cut.lanes_a_box, 2), -2)
        at = lanes_of(cut, boxes)
        values[at] = np.ravel_multi_index(tuple(cut.place(at, boxes)), shape)[:, None]
        for first, end in cut.runs(boxes):
            run = Boxes(boxes.offset[first:end], boxes.sides[first:end])
            start = first * cut.lanes_a_box
            cut.put([found], run, [values[start : start + int(run.lanes.sum())]])
    np.testing.assert_array_equal(found[..., 0], np.arange(found[..., 0].size).reshape(shape))


def test_compiled_places_are_the_same():
    cut = blocks((9, 700, 5), 64, 4000)
    (boxes, *_) = cut.each()
    at = np.arange(int(boxes.lanes[0]), dtype=np.int32)
    traced = traced_place(boxes.offset[0], boxes.sides[0], at, cut.slow)
    np.testing.assert_array_equal(np.stack(traced), cut.place(at, boxes))


def test_a_patch_is_nearly_a_cube():
    assert patch_sides((512, 512), 64) == [8, 8]
    assert patch_sides((512, 512), 128) == [8, 16]
    assert patch_sides((3, 512), 64) == [2, 32] or np.prod(patch_sides((3, 512), 64)) <= 64
    assert patch_sides((100,), 128) == [100]
