"""Data that stay on the host: the same runs as with data in memory."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse

import gdjax
from gdjax import Descent, Status, batches

KEY = jax.random.key(0)
ROWS = {
    "x": np.random.default_rng(0).normal(size=(22, 3)).astype(np.float32),
    "y": np.arange(22, dtype=np.float32),
}
ADAM = optax.adam(0.1)


def bowl(w, batch):
    return jnp.mean((batch["x"] @ w - batch["y"]) ** 2) / 2


def descent(drawn, **changes):
    fixed = {"stop": None, "max_steps": 12, "key": KEY}
    return Descent(bowl, jnp.zeros(3), ADAM, batches=drawn, **(fixed | changes))


def same_runs(first, second):
    chex.assert_trees_all_close(
        (first.params, first.loss, first.grad_norm, first.record),
        (second.params, second.loss, second.grad_norm, second.record),
        rtol=1e-4,
    )
    assert (first.steps, first.status) == (second.steps, second.status)


class Rows:
    """Rows that are nowhere in memory at once."""

    def __len__(self):
        return 1000

    def __getitem__(self, rows):
        assert (np.diff(rows) > 0).all()
        return np.asarray(rows, np.float32)


@pytest.mark.long
@pytest.mark.parametrize(
    "kind", [{}, {"replace": True}, {"shuffle": False}, {"epochs": False}, {"pad": True}]
)
def test_they_are_the_batches_of_data_in_memory(kind, tmp_path):
    np.save(tmp_path / "x.npy", ROWS["x"])
    on_disk = {"x": np.load(tmp_path / "x.npy", mmap_mode="r"), "y": ROWS["y"]}
    host, mini = batches.host(on_disk, 4, **kind), batches.mini(ROWS, 4, **kind)
    for step in (0, 3, 5, 11):
        chex.assert_trees_all_equal(host.at(KEY, step), jax.device_get(mini.at(KEY, step)))


@pytest.mark.long
def test_only_the_rows_of_a_batch_are_read():
    batch = batches.host(Rows(), 4).at(KEY, 9)
    np.testing.assert_array_equal(batch, batches.mini(np.arange(1000.0), 4).at(KEY, 9))


RECORD = {
    "loss": gdjax.record.every(4),
    "last": gdjax.record.every(5, lambda state: (state.params, state.step)),
    "mean": gdjax.record.mean(),
}
STOPS = {
    "no stop": {},
    "a stop": {"stop": gdjax.stop.loss_below(60.0), "max_steps": 50},
    "an end at once": {"stop": gdjax.stop.loss_below(1e6)},
    "no steps": {"max_steps": 0},
    "traced steps": {"max_steps": jnp.int32(6), "record": gdjax.record.mean()},
}


@pytest.mark.parametrize(
    "case",
    [
        "a stop",
        *(
            pytest.param(c, marks=pytest.mark.long)
            for c in ("traced steps", "no stop", "an end at once", "no steps")
        ),
    ],
)
def test_a_run_is_that_of_data_in_memory(case):
    changes = {"record": RECORD} | STOPS[case]
    host = gdjax.run(descent(batches.host(ROWS, 4), **changes))
    same_runs(host, gdjax.run(descent(batches.mini(ROWS, 4), **changes)))


@pytest.mark.long
def test_a_run_that_diverges_keeps_the_last_finite_point():
    def steep(w, batch):
        return jnp.mean(jnp.exp(jnp.exp(batch["x"] @ w)))

    def run(drawn):
        return gdjax.run(Descent(steep, jnp.ones(3), optax.sgd(9.0), batches=drawn, key=KEY))

    host = run(batches.host(ROWS, 4))
    assert host.status == Status.DIVERGED
    assert np.isfinite(host.params).all()
    same_runs(host, run(batches.mini(ROWS, 4)))


def test_resumed_and_stepped_are_the_whole_run():
    host = batches.host(ROWS, 4)
    whole = gdjax.run(descent(host))
    half = gdjax.run(descent(host, max_steps=5))
    same_runs(gdjax.run(descent(host, max_steps=7), state=half.state), whole)
    state = gdjax.init(descent(host))
    for _ in range(12):
        state = gdjax.step(descent(host), state)
    np.testing.assert_allclose(state.params, whole.params, rtol=1e-5)


@pytest.mark.long
def test_line_searches_see_the_batch_of_the_step():
    def run(drawn):
        return gdjax.run(
            Descent(bowl, jnp.zeros(3), optax.lbfgs(), batches=drawn, key=KEY, max_steps=6)
        )

    same_runs(run(batches.host(ROWS, 11)), run(batches.mini(ROWS, 11)))


def test_one_compiled_step_serves_all_data(no_compilation):
    gdjax.run(descent(batches.host(ROWS, 4)))
    with no_compilation():
        gdjax.run(descent(batches.host(jax.tree.map(lambda x: x + 1, ROWS), 4), max_steps=7))


def loader():
    for first in range(0, 20, 4):
        yield {name: rows[first : first + 4] for name, rows in ROWS.items()}


def test_a_stream_begins_again_and_a_run_goes_on_where_it_was():
    stream, mini = batches.stream(loader), batches.mini(ROWS, 4, shuffle=False)
    whole = gdjax.run(descent(stream))
    same_runs(whole, gdjax.run(descent(mini)))
    half = gdjax.run(descent(stream, max_steps=7))
    same_runs(gdjax.run(descent(stream, max_steps=5), state=half.state), whole)


def test_data_of_another_byte_order_are_those_of_this_one():
    foreign = ROWS["y"].astype(">f4")
    for kind in (batches.host, batches.mini):
        found = kind(foreign, 5, shuffle=False).at(None, 1)
        np.testing.assert_array_equal(found, ROWS["y"][5:10])


def uneven():
    yield from loader()
    yield jax.tree.map(lambda x: x[20:], ROWS)


NAN = ROWS | {"y": np.where(np.arange(22) == 6, np.nan, 1).astype(np.float32)}
REFUSED = {
    "a sweep": (
        lambda: gdjax.sweep(lambda n: descent(batches.host(ROWS, 4)), n=[1]),
        TypeError,
        "batches: .*between compiled steps",
    ),
    "jit": (
        lambda: jax.jit(lambda w: gdjax.run(descent(batches.host(ROWS, 4))).params + w)(1.0),
        TypeError,
        "batches: .*between compiled steps",
    ),
    "vmap over budgets": (
        lambda: jax.vmap(lambda n: gdjax.run(descent(batches.host(ROWS, 4), max_steps=n)).params)(
            jnp.arange(2)
        ),
        TypeError,
        "batches: .*between compiled steps",
    ),
    "vmap over starts": (
        lambda: jax.vmap(
            lambda w: gdjax.run(Descent(bowl, w, ADAM, batches=batches.host(ROWS, 4), key=KEY))
        )(jnp.zeros((2, 3))),
        TypeError,
        "batches: .*between compiled steps",
    ),
    "rows that a sparse array does not have": (
        lambda: batches.host(scipy.sparse.csr_matrix(np.eye(3)), 2),
        TypeError,
        "data: expected an array with rows",
    ),
    "a key that is a number": (lambda: batches.host(ROWS, 2).at(3, 1), TypeError, "key: .*got 3"),
    "a range test": (
        lambda: gdjax.lr_range_test(
            bowl, jnp.zeros(3), optax.sgd, batches=batches.host(ROWS, 4), key=KEY
        ),
        TypeError,
        "batches: .*between compiled steps",
    ),
    "no key": (
        lambda: gdjax.run(descent(batches.host(ROWS, 4), key=None)),
        ValueError,
        "key: ",
    ),
    "NaN": (
        lambda: gdjax.run(descent(batches.host(NAN, 22))),
        ValueError,
        r"data\['y'\]: row 6 is NaN",
    ),
    "lengths": (
        lambda: batches.host({"x": ROWS["x"], "y": np.ones(3)}, 2),
        ValueError,
        r"data\['y'\]: expected 22 examples",
    ),
    "size 0": (lambda: batches.host(ROWS, 0), ValueError, "size: "),
    "size above": (lambda: batches.host(ROWS, 23), ValueError, "size: .*at most the 22"),
    "text": (lambda: batches.host(np.array(["a", "b"]), 1), TypeError, "data: "),
    "a number": (lambda: batches.host(3.0, 1), TypeError, "data: "),
    "a list": (lambda: batches.host([[1.0, 2.0]], 1), TypeError, r"data\[0\]\[0\]: "),
    "an iterator": (lambda: batches.stream(loader()), TypeError, "make: expected a function"),
    "an empty stream": (
        lambda: gdjax.run(descent(batches.stream(lambda: ()))),
        ValueError,
        "make: .*without a batch",
    ),
    "an uneven stream": (
        lambda: gdjax.run(descent(batches.stream(uneven))),
        TypeError,
        "batch 5: expected the shapes",
    ),
    "a record of all examples": (
        lambda: gdjax.run(
            descent(
                batches.host(ROWS, 4),
                record=gdjax.record.every(
                    1, gdjax.record.of_loss(lambda loss, w, data: loss(w, data))
                ),
            )
        ),
        TypeError,
        "batches: this looks at all examples",
    ),
    "a diagnosis": (
        lambda: gdjax.diagnose(
            descent(batches.host(ROWS, 4)), gdjax.run(descent(batches.host(ROWS, 4)))
        ),
        TypeError,
        "batches: this looks at all examples",
    ),
    "curvature": (
        lambda: gdjax.curvature.sharpness(bowl, jnp.zeros(3), batches.host(ROWS, 4)),
        TypeError,
        "batches: this looks at all examples",
    ),
    "the noise": (
        lambda: gdjax.gradient_noise(bowl, jnp.zeros(3), batches.host(ROWS, 4)),
        TypeError,
        "batches: this looks at all examples",
    ),
    "a stream of numbers": (
        lambda: gdjax.run(descent(batches.stream(lambda: [{"x": 1.0, "y": ROWS["y"]}]))),
        TypeError,
        r"batch 0\['x'\]: expected an array with a leading example axis",
    ),
    "lengths in a stream": (
        lambda: gdjax.run(descent(batches.stream(lambda: [{"x": ROWS["x"], "y": np.ones(3)}]))),
        ValueError,
        r"batch 0\['y'\]: expected 22 examples",
    ),
    "no iterable": (
        lambda: gdjax.run(descent(batches.stream(lambda: 3))),
        TypeError,
        "make: expected it to return an iterable",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    make, error, message = REFUSED[case]
    with pytest.raises(error, match=f"^{message}"):
        make()
