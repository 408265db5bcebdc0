import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, reduce

BOX = gdjax.grid(x=(-6, 6, 20), y=(-6, 6, 20))


def lane(start):
    return Descent(gdjax.landscapes.himmelblau, start, optax.sgd(0.01))


@pytest.fixture(scope="module")
def runs():
    return gdjax.sweep(lane, start=BOX)


def reduced(reducers, **options):
    return gdjax.sweep(lane, start=BOX, reduce=reducers, **options)


@pytest.mark.parametrize("options", [{}, {"tile": 16, "block_size": 32}])
def test_reducers_see_every_lane_once(runs, options):
    found = reduced(
        {
            "steps": reduce.total(lambda o: o.steps),
            "mean": reduce.mean(lambda o: o.params),
            "quadrant": reduce.counts(lambda o: (o.params["x"] > 0).astype(jnp.int32), 2),
            "ends": (reduce.minimum(lambda o: o.loss), reduce.maximum(lambda o: o.steps)),
        },
        **options,
    )
    assert found["steps"] == runs.steps.sum()
    assert found["mean"]["x"] == pytest.approx(runs.params["x"].mean(dtype=float), rel=1e-4)
    right = int((runs.params["x"] > 0).sum())
    assert found["quadrant"].tolist() == [400 - right, right]
    assert found["ends"] == (runs.loss.min(), runs.steps.max())


def test_vectors_are_reduced_entry_by_entry():
    starts = np.float32([[1, 2], [3, 5]])

    def at_start(start):
        return Descent(lambda w: jnp.sum(w**2), start, optax.sgd(0.1), max_steps=0)

    found = gdjax.sweep(at_start, start=starts, reduce=reduce.total(lambda o: o.params))
    assert found.tolist() == [4, 7]


def test_counts_leave_out_what_is_out_of_range():
    label = reduce.counts(lambda o: jnp.where(o.params["x"] > 0, 0, -1), 1)
    assert 0 < reduced(label)[0] < 400


def test_equal_reducers_compile_nothing_again(no_compilation):
    def steps(outcome):
        return outcome.steps

    reduced(reduce.mean(steps))
    with no_compilation():
        reduced(reduce.mean(steps))


def test_counts_of_fractions_are_refused():
    with pytest.raises(TypeError, match=r"^of: expected it to return a whole number"):
        reduced(reduce.counts(lambda o: o.loss, 3))


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda: reduce.counts(3, 3), TypeError, "of"),
        (lambda: reduce.counts(lambda o: o.steps, 0), ValueError, "length"),
        (lambda: reduce.total(None), TypeError, "of"),
    ],
)
def test_bad_input_is_refused_by_name(make, error, name):
    with pytest.raises(error, match=f"^{name}: "):
        make()


def test_stored_runs_are_those_in_memory(runs, tmp_path):
    stored = gdjax.sweep(lane, start=BOX, store=tmp_path / "runs", block_size=64)
    np.testing.assert_array_equal(stored.steps, runs.steps)
    again = np.load(tmp_path / "runs" / "params_x.npy", mmap_mode="r")
    np.testing.assert_array_equal(again, runs.params["x"])
    assert isinstance(jax.tree.leaves(stored.params)[0], np.memmap)


def test_a_store_is_not_overwritten(tmp_path):
    gdjax.sweep(lane, start=BOX, store=tmp_path)
    with pytest.raises(FileExistsError, match=r"^store: "):
        gdjax.sweep(lane, start=BOX, store=tmp_path)


def test_lanes_that_all_begin_anew_are_reduced_when_they_end():
    starts = jnp.linspace(1.0, 2.0, 50)
    least = gdjax.sweep(
        lambda start: gdjax.Descent(lambda w: w**4, start, optax.sgd(10.0)),
        start=starts,
        reduce=reduce.minimum(lambda o: o.steps),
    )
    assert least >= 1


def test_leaves_whose_paths_make_one_name_have_files_of_their_own(tmp_path):
    def lane(a):
        start = {"a": {"b": a}, "a_b": 10 * a, "mlp/linear": {"w": -a}}
        return Descent(
            lambda w: optax.tree.norm(w, squared=True), start, optax.sgd(0.1), max_steps=0
        )

    stored = gdjax.sweep(lane, a=[1.0, 2.0], store=tmp_path).params
    assert stored["a"]["b"].tolist() == [1, 2]
    assert stored["a_b"].tolist() == [10, 20]
    assert stored["mlp/linear"]["w"].tolist() == [-1, -2]


@pytest.mark.parametrize(
    ("keywords", "error", "named"),
    [
        ({"store": 5}, TypeError, "^store: "),
        ({"store": __file__}, NotADirectoryError, "^store: "),
        ({"store": "x", "reduce": gdjax.reduce.total(lambda o: o.loss)}, ValueError, "^store: "),
        ({"reduce": gdjax.reduce.mean(lambda o: {})}, TypeError, "^of: "),
        ({"reduce": gdjax.reduce.minimum(lambda o: o.loss * 1j)}, TypeError, "^of: "),
    ],
)
def test_what_cannot_be_kept_is_refused(keywords, error, named):
    with pytest.raises(error, match=named):
        gdjax.sweep(lambda a: Descent(lambda w: w**2, a, optax.sgd(0.1)), a=[1.0], **keywords)
