"""Batches: what a step sees, and the noise that it makes of it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from jax.experimental import sparse

import gdjax
from gdjax import Descent, batches

KEY = jax.random.key(0)
ROWS = {"x": np.random.default_rng(0).normal(size=(22, 3)), "y": np.arange(22)}


def bowl(w, batch):
    return jnp.mean((batch["x"] @ w - batch["y"]) ** 2) / 2


ADAM = optax.adam(0.1)


def descent(drawn, **changes):
    fixed = {"optimizer": ADAM, "stop": None, "max_steps": 30, "key": KEY}
    return Descent(bowl, jnp.zeros(3), batches=drawn, **(fixed | changes))


def seen(drawn, steps, key=KEY):
    """Return which examples the steps see: [steps, size]."""
    return np.asarray(jax.vmap(lambda step: drawn.at(key, step)["y"])(jnp.asarray(steps)))


@pytest.mark.parametrize(
    ("examples", "size"),
    [
        (1, 1),
        (7, 3),
        (1000, 64),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in [(2, 1), (3, 3), (64, 1), (64, 64)]
        ),
    ],
)
def test_an_epoch_sees_no_example_twice(examples, size):
    drawn = batches.mini({"y": np.arange(examples)}, size)
    epochs = [seen(drawn, np.arange(drawn.per_epoch) + i * drawn.per_epoch) for i in range(3)]
    assert all(len(np.unique(epoch)) == drawn.per_epoch * size for epoch in epochs)
    assert drawn.per_epoch == examples // size
    if examples > 10:
        assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.long
def test_every_permutation_is_as_likely():
    drawn = batches.mini({"y": np.arange(4)}, 4)
    keys = jax.random.split(KEY, 24_000)
    orders = jax.jit(jax.vmap(lambda key: drawn.at(key, 0)["y"]))(keys)
    _, counts = np.unique(np.asarray(orders), axis=0, return_counts=True)
    assert len(counts) == 24
    assert np.sum((counts - 1000) ** 2 / 1000) < 41.6  # chi-squared of 23, once in 100


@pytest.mark.long
def test_what_fills_no_batch_differs_from_epoch_to_epoch():
    drawn = batches.mini(ROWS, 4)  # 5 batches, and 2 of 22 examples are left out
    left_out = [set(range(22)) - set(seen(drawn, np.arange(5) + 5 * i).flat) for i in range(40)]
    assert set.union(*left_out) == set(range(22))


def test_in_order_needs_no_key_and_begins_again():
    drawn = batches.mini(ROWS, 8, shuffle=False)
    expected = [range(8), range(8, 16), range(8)]
    np.testing.assert_array_equal(seen(drawn, [0, 1, 2], key=None), expected)


@pytest.mark.long
def test_without_epochs_a_batch_sees_no_example_twice_and_forgets_those_before():
    drawn = seen(batches.mini(ROWS, 8, epochs=False), np.arange(500))
    assert all(len(np.unique(batch)) == 8 for batch in drawn)
    again = [len(np.intersect1d(*pair)) for pair in itertools.pairwise(drawn)]
    # Hypergeometric: 8 of 22 twice have 64/22 in common, with a standard deviation of 1.11.
    assert np.mean(again) == pytest.approx(64 / 22, abs=3 * 1.11 / 499**0.5)


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 4])
def test_with_replacement_all_examples_are_as_likely(size):
    drawn = batches.mini(ROWS, size, replace=True)
    counts = np.bincount(seen(drawn, np.arange(22_000 // size)).ravel(), minlength=22)
    assert np.sum((counts - 1000) ** 2 / 1000) < 38.9  # chi-squared of 21, once in 100


def test_stochastic_sees_one_example():
    assert batches.stochastic(ROWS).at(KEY, 3)["x"].shape == (1, 3)


@pytest.mark.long
@pytest.mark.parametrize("replace", [False, pytest.param(True, marks=pytest.mark.long)])
def test_key_and_step_decide_alone(replace, x64):
    drawn = batches.mini(ROWS, 5, replace=replace)
    together = seen(drawn, np.arange(9))
    for step in (8, 0, 5):
        np.testing.assert_array_equal(drawn.at(KEY, step)["y"], together[step])
    assert not np.array_equal(seen(drawn, np.arange(9), jax.random.key(1)), together)
    with jax.enable_x64(False):
        np.testing.assert_array_equal(seen(drawn, np.arange(9)), together)


@pytest.mark.long
def test_keys_of_other_generators_draw_the_same_in_lanes():
    keys = jax.random.split(jax.random.key(0, impl="rbg"), 3)
    rows = jax.jit(lambda key: KINDS["replaced"].at(key, 2)["y"])
    np.testing.assert_array_equal(jax.vmap(rows)(keys)[1], rows(keys[1]))


def test_other_keys_of_a_run_do_not_move_with_its_batches():
    drawn = batches.mini({"y": np.arange(1000)}, 1000)
    plain = gdjax.permutation.permuted(
        jax.random.fold_in(KEY, 0), jnp.arange(1000, dtype=jnp.uint32), 1000
    )
    assert not np.array_equal(seen(drawn, [0])[0], plain)


@pytest.mark.long
def test_all_examples_in_one_batch_are_full_batch():
    runs = [
        gdjax.run(descent(drawn))
        for drawn in (
            batches.full(ROWS),
            batches.mini(ROWS, 22),
            batches.mini(ROWS, 22, shuffle=False),
        )
    ]
    for other in runs[1:]:
        np.testing.assert_allclose(other.loss, runs[0].loss, rtol=1e-5)
        np.testing.assert_allclose(other.params, runs[0].params, rtol=1e-4)
    by_hand = gdjax.run(Descent(bowl, jnp.zeros(3), ADAM, (ROWS,), stop=None, max_steps=30))
    np.testing.assert_allclose(runs[0].params, by_hand.params, rtol=1e-5)


KINDS = {
    "in order": batches.mini(ROWS, 4, shuffle=False),
    "shuffled": batches.mini(ROWS, 4),
    "replaced": batches.mini(ROWS, 4, replace=True),
    "subsets": batches.mini(ROWS, 4, epochs=False),
    "stochastic": batches.stochastic(ROWS),
}


@pytest.mark.long
@pytest.mark.parametrize(
    "kind",
    ["shuffled", *(pytest.param(k, marks=pytest.mark.long) for k in KINDS if k != "shuffled")],
)
def test_a_step_uses_the_gradient_of_its_own_batch(kind):
    d = descent(KINDS[kind], record=gdjax.record.every(1))
    params, optimizer = d.params, d.optimizer
    opt_state = optimizer.init(params)
    losses = []
    for step in range(31):
        loss, grad = jax.value_and_grad(bowl)(params, KINDS[kind].at(KEY, step))
        losses.append(loss)
        updates, opt_state = optimizer.update(grad, opt_state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(gdjax.run(d).record.values, losses, rtol=1e-4)


@pytest.mark.parametrize(
    "kind",
    [
        "in order",
        pytest.param("shuffled", marks=pytest.mark.long),
        pytest.param("replaced", marks=pytest.mark.long),
        pytest.param("stochastic", marks=pytest.mark.long),
    ],
)
def test_alone_resumed_stepped_and_in_a_sweep_are_one_run(kind):
    drawn = KINDS[kind]
    whole = gdjax.run(descent(drawn))
    half = gdjax.run(descent(drawn, max_steps=13))
    resumed = gdjax.run(descent(drawn, max_steps=17), state=half.state)
    assert resumed.steps == 30
    np.testing.assert_array_equal(resumed.params, whole.params)
    stepped = gdjax.init(descent(drawn))
    for _ in range(30):
        stepped = gdjax.step(descent(drawn), stepped)
    np.testing.assert_allclose(stepped.params, whole.params, rtol=1e-5)

    def lane(rate):
        return descent(drawn, optimizer=optax.adam(rate), key=None)

    runs = gdjax.sweep(lane, rate=[0.1, 0.01, 0.2], key=KEY)
    for i in range(3):
        alone = gdjax.run(runs.descent(i))
        np.testing.assert_allclose(runs.params[i], alone.params, rtol=1e-5)
        np.testing.assert_allclose(runs.loss[i], alone.loss, rtol=1e-4)


@pytest.mark.long
def test_data_may_be_swept_and_traced():
    starts = np.random.default_rng(1).normal(size=(3, 22, 3)).astype(np.float32)

    def lane(x):
        return descent(batches.mini({"x": x, "y": ROWS["y"]}, 4), max_steps=5)

    runs = gdjax.sweep(lane, x=starts)
    for i in range(3):
        alone = gdjax.run(lane(starts[i]))
        np.testing.assert_allclose(runs.params[i], alone.params, rtol=1e-5)


def weighted_bowl(w, batch):
    rows, weights = batch
    return jnp.average((rows["x"] @ w - rows["y"]) ** 2, weights=weights) / 2


def test_a_padded_epoch_sees_each_example_once():
    drawn = batches.mini(ROWS, 4, pad=True)  # 6 batches, the last of 2
    assert drawn.per_epoch == 6
    for epoch in range(3):
        together = [drawn.at(KEY, 6 * epoch + step) for step in range(6)]
        counted = np.concatenate([b.examples["y"][b.weights == 1] for b in together])
        assert sorted(counted) == list(range(22))
        assert together[-1].weights.tolist() == [1, 1, 0, 0]


def test_a_padded_epoch_in_order_ends_with_what_is_left():
    drawn = batches.mini(ROWS, 8, shuffle=False, pad=True)
    examples, weights = drawn.at(None, 2)
    assert examples["y"][weights == 1].tolist() == list(range(16, 22))
    assert drawn.at(None, 3).examples["y"].tolist() == list(range(8))


def test_a_padded_batch_has_the_gradient_of_its_examples():
    drawn = batches.mini(ROWS, 5, pad=True)
    examples, weights = drawn.at(KEY, 4)
    w = jnp.ones(3)
    short = jax.grad(bowl)(w, jax.tree.map(lambda leaf: leaf[:2], examples))
    padded = jax.grad(weighted_bowl)(w, (examples, weights))
    np.testing.assert_allclose(padded, short, rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({}, id="shuffled"),
        pytest.param({"replace": True}, id="replaced", marks=pytest.mark.long),
        pytest.param({"shuffle": False}, id="in order", marks=pytest.mark.long),
    ],
)
def test_a_swept_size_is_the_run_with_that_size(kind):
    def lane(size):
        drawn = batches.mini(ROWS, size, most=22, **kind)
        return Descent(
            weighted_bowl, jnp.zeros(3), ADAM, batches=drawn, stop=None, max_steps=30, key=KEY
        )

    sizes = [1, 5, 16, 22]
    runs = gdjax.sweep(lane, size=sizes)
    for i, size in enumerate(sizes):
        plain = gdjax.run(descent(batches.mini(ROWS, size, **kind)))
        np.testing.assert_allclose(runs.params[i], plain.params, rtol=1e-5)
        np.testing.assert_allclose(runs.loss[i], plain.loss, rtol=1e-4)


@pytest.mark.long
def test_a_traced_size_out_of_its_range_ends_as_diverged_at_the_start():
    def run(size):
        drawn = batches.mini(ROWS, size, most=8)
        d = Descent(weighted_bowl, jnp.zeros(3), ADAM, batches=drawn, max_steps=3, key=KEY)
        return gdjax.run(d)

    runs = jax.vmap(run)(jnp.array([0, 8, 9]))
    limit, diverged = gdjax.Status.STEP_LIMIT, gdjax.Status.DIVERGED
    assert runs.status.tolist() == [diverged, limit, diverged]
    assert np.isnan(runs.loss[np.array([0, 2])]).all()


def test_another_size_below_the_maximum_compiles_nothing(no_compilation):
    def run(size):
        drawn = batches.mini(ROWS, size, most=22)
        return gdjax.run(Descent(weighted_bowl, jnp.zeros(3), ADAM, batches=drawn, key=KEY))

    run(3)
    with no_compilation():
        run(np.int32(7))


def test_a_swept_size_may_be_padded():
    drawn = batches.mini(ROWS, jnp.int32(4), most=9, pad=True)
    assert drawn.per_epoch == 6
    examples, weights = drawn.at(KEY, 5)
    plain = batches.mini(ROWS, 4, pad=True).at(KEY, 5)
    assert weights.tolist() == [1, 1] + 7 * [0]
    np.testing.assert_array_equal(examples["y"][:2], plain.examples["y"][:2])


def test_all_examples_of_weighted_batches_count():
    whole = batches.mini(ROWS, 4, pad=True).whole
    np.testing.assert_allclose(weighted_bowl(jnp.ones(3), whole), bowl(jnp.ones(3), ROWS), 1e-6)


def test_line_searches_see_the_batch_of_the_step():
    d = Descent(bowl, jnp.zeros(3), optax.lbfgs(), batches=batches.full(ROWS))
    assert gdjax.run(d).status == gdjax.Status.CONVERGED


def test_data_are_arguments_of_the_programs(no_compilation):
    first, second = (batches.mini({"x": ROWS["x"] + i, "y": ROWS["y"]}, 4) for i in range(2))
    gdjax.run(descent(first))
    with no_compilation():
        gdjax.run(descent(second))


def test_a_sweep_compiles_no_data_in(monkeypatch):
    texts = []
    compile_it = jax.stages.Lowered.compile

    def compile_and_keep(lowered, *options):
        texts.append(lowered.as_text())
        return compile_it(lowered, *options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", compile_and_keep)
    data = {"x": np.random.default_rng(0).normal(size=(20_000, 3)), "y": np.zeros(20_000)}

    def lane(rate):
        return descent(batches.mini(data, 4), optimizer=optax.sgd(rate), max_steps=3)

    gdjax.sweep(lane, rate=[0.1, 0.01])
    assert texts
    assert all(len(text) < 400_000 for text in texts)  # the data would be 480,000 characters


@pytest.mark.long
def test_a_map_of_basins_looks_at_the_loss_of_all_examples():
    in_order = batches.mini(np.float32([0.99999, 1.00001]), 1, shuffle=False)

    def two_wells(w, batch):
        return jnp.mean((w[0] ** 2 - batch) ** 2)

    def lane(start):
        return Descent(two_wells, start, optax.sgd(0.05), batches=in_order)

    basins = gdjax.map_basins(gdjax.sweep(lane, start=gdjax.grid((-2, 2, 16))))
    np.testing.assert_allclose(np.sort(basins.attractors.params.ravel()), [-1, 1], atol=1e-3)


def squares(start, drawn, seeds, steps, rate=0.25):
    """Return x² of gradient descent on the mean of (x - c)²/2, with its standard error."""

    def lane(seed):
        del seed  # each lane has a key of its own
        loss = lambda x, c: jnp.mean((x - c) ** 2) / 2  # noqa: E731
        return Descent(loss, start, optax.sgd(rate), batches=drawn, stop=None, max_steps=steps)

    x = gdjax.sweep(lane, seed=np.arange(seeds), key=KEY).params.astype(float)
    return np.mean(x**2), np.std(x**2) / seeds**0.5


CENTRES = np.random.default_rng(3).normal(size=256).astype(np.float32)
CENTRES -= CENTRES.mean()


def expected_squares(start, size, steps, rate, replace):
    """Return E x²: with replacement that of TRUTH, without it the same with exact covariances.

    Batches of one epoch have no example in common, which makes their means anticorrelated.
    """
    count, variance, rho = len(CENTRES), CENTRES.astype(float).var(), 1 - rate
    if replace:
        level = rate * variance / (size * (2 - rate))
        return rho ** (2 * steps) * start**2 + level * (1 - rho ** (2 * steps))
    step = np.arange(steps)
    epoch = step // (count // size)
    same_epoch = epoch[:, None] == epoch[None, :]
    covariance = -variance / (count - 1) * same_epoch
    covariance[step, step] = variance / size * (count - size) / (count - 1)
    weight = rate * rho ** (steps - 1 - step)
    return rho ** (2 * steps) * start**2 + weight @ covariance @ weight


def check_noise(size, steps, replace, seeds):
    drawn = batches.mini(CENTRES, size, replace=replace)
    found, error = squares(1.0, drawn, seeds, steps)
    expected = expected_squares(1.0, size, steps, 0.25, replace)
    assert abs(found - expected) <= 3 * error + 1e-6, (found, expected, error)


@pytest.mark.parametrize(
    ("size", "replace"),
    [
        (1, True),
        pytest.param(8, False, marks=pytest.mark.long),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in [(1, False), (8, True), (64, False), (64, True), (256, False), (256, True)]
        ),
    ],
)
def test_noise_of_mini_batches(size, replace):
    check_noise(size, 13, replace, seeds=4096)


@pytest.mark.parametrize(
    "size", [8, *(pytest.param(size, marks=pytest.mark.long) for size in (1, 64, 256))]
)
def test_noise_of_subsets_is_that_of_a_finite_population(size):
    drawn = batches.mini(CENTRES, size, epochs=False)
    found, error = squares(1.0, drawn, seeds=4096, steps=13)
    count, decay = len(CENTRES), 0.75**26
    level = 0.25 * CENTRES.astype(float).var() / (size * 1.75) * (count - size) / (count - 1)
    assert abs(found - (decay + level * (1 - decay))) <= 3 * error + 1e-6


@pytest.mark.long
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("size", [1, 8, 64, 160, 256])
@pytest.mark.parametrize("steps", [1, 5, 100])
def test_noise_of_mini_batches_with_more_seeds(size, steps, replace):
    check_noise(size, steps, replace, seeds=4096 if size > 8 else 65_536)


def test_without_replacement_the_noise_is_that_of_a_finite_population():
    # A batch of more than half is an epoch of its own: batches are independent, as in TRUTH.
    size, count, rate, steps = 160, 256, 0.25, 13
    level = rate * CENTRES.astype(float).var() / (size * (2 - rate)) * (count - size) / (count - 1)
    expected = 0.75 ** (2 * steps) + level * (1 - 0.75 ** (2 * steps))
    np.testing.assert_allclose(expected_squares(1.0, size, steps, rate, False), expected)


NAN = np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, 0.0]])
REFUSED = {
    "sparse data": (
        lambda: batches.mini({"x": sparse.BCOO.fromdense(jnp.eye(6))}, 2),
        TypeError,
        r"data\['x'\]: .*BCOO",
    ),
    "a word for a flag": (lambda: batches.mini(ROWS, 2, shuffle="no"), TypeError, "shuffle: "),
    "a number for a flag": (lambda: batches.mini(ROWS, 2, epochs=3), TypeError, "epochs: "),
    "a word for another": (lambda: batches.mini(ROWS, 2, pad="drop"), TypeError, "pad: "),
    "no arrays": (lambda: batches.full({}), ValueError, "data: "),
    "a number": (lambda: batches.full(3.0), TypeError, "data: "),
    "a list": (lambda: batches.full([[1.0, 2.0]]), TypeError, r"data\[0\]\[0\]: "),
    "text": (lambda: batches.full(np.array(["a"])), TypeError, "data: "),
    "objects": (lambda: batches.full({"x": np.array([None])}), TypeError, r"data\['x'\]: "),
    "no examples": (lambda: batches.full(np.zeros((0, 3))), ValueError, "data: "),
    "lengths": (
        lambda: batches.mini((np.ones(3), np.ones(4)), 1),
        ValueError,
        r"data\[1\]: .* 3 examples, as in data\[0\], got 4",
    ),
    "NaN": (lambda: batches.full({"x": NAN}), ValueError, r"data\['x'\]: row 1 is NaN"),
    "NaN in jax arrays": (lambda: batches.full(jnp.array(NAN)), ValueError, "data: row 1 is NaN"),
    "size 0": (lambda: batches.mini(ROWS, 0), ValueError, "size: "),
    "size above": (lambda: batches.mini(ROWS, 23), ValueError, "size: .*at most the 22"),
    "half a size": (lambda: batches.mini(ROWS, 1.5), TypeError, "size: "),
    "no order": (lambda: batches.mini(ROWS, 2, replace=True, shuffle=False), ValueError, "shuffle"),
    "most above": (lambda: batches.mini(ROWS, 2, most=23), ValueError, "most: .*at most the 22"),
    "size above most": (
        lambda: batches.mini(ROWS, 9, most=8),
        ValueError,
        "size: .*from 1 to the 8",
    ),
    "size 0 of most": (
        lambda: batches.mini(ROWS, 0, most=8),
        ValueError,
        "size: .*from 1 to the 8",
    ),
    "half a size of most": (lambda: batches.mini(ROWS, 1.5, most=8), TypeError, "size: "),
    "no order without epochs": (
        lambda: batches.mini(ROWS, 2, epochs=False, shuffle=False),
        ValueError,
        "shuffle: ",
    ),
    "padded without epochs": (
        lambda: batches.mini(ROWS, 2, epochs=False, pad=True),
        ValueError,
        "pad: ",
    ),
    "padded replacement": (
        lambda: batches.mini(ROWS, 2, replace=True, pad=True),
        ValueError,
        "pad: ",
    ),
    "swept without most": (
        lambda: gdjax.sweep(lambda size: descent(batches.mini(ROWS, size)), size=[1, 2]),
        TypeError,
        "size: .*most=",
    ),
    "bad data in a lane": (
        lambda: gdjax.sweep(lambda rate: descent(batches.full({"x": NAN})), rate=[0.1]),
        ValueError,
        r"data\['x'\]: row 1 is NaN",
    ),
    "a structure": (
        lambda: batches.full(np.zeros(3, [("x", float), ("y", int)])),
        TypeError,
        "data: expected an array of numbers",
    ),
    "dates": (lambda: batches.full(np.zeros(3, "datetime64[s]")), TypeError, "data: "),
    "a table of text": (
        lambda: batches.full({"t": pd.DataFrame({"a": [1.0, 2.0], "b": ["c", "d"]})}),
        TypeError,
        r"data\['t'\]: expected an array of numbers, got object",
    ),
    "NaN in a table": (
        lambda: batches.full(pd.DataFrame({"a": [1.0, 2.0], "b": [0.0, np.nan]})),
        ValueError,
        "data: row 1 is NaN",
    ),
    "columns of one row": (
        lambda: batches.full({"x": [1.0, 2.0]}),
        TypeError,
        r"data\['x'\]\[0\]: ",
    ),
    "time spans": (lambda: batches.full(np.zeros(3, "timedelta64[s]")), TypeError, "data: "),
    "random keys": (lambda: batches.full(jax.random.split(KEY, 3)), TypeError, "data: "),
    "a masked row": (
        lambda: batches.full(np.ma.masked_equal([1.0, 2.0, 3.0], 2.0)),
        ValueError,
        "data: row 1 is masked",
    ),
    "whole numbers beyond int32": (
        lambda: batches.full({"id": np.array([1, 2**40])}),
        ValueError,
        r"data\['id'\]: expected values within int32, got .*1099511627776",
    ),
    "floats beyond float32": (
        lambda: batches.full(np.array([1.0, 1e300])),
        ValueError,
        "data: expected values within float32",
    ),
    "half a step": (lambda: KINDS["shuffled"].at(KEY, 1.5), TypeError, "step: "),
    "a step before the first": (lambda: KINDS["shuffled"].at(KEY, -1), ValueError, "step: "),
    "a seed for a key": (lambda: KINDS["shuffled"].at(0, 1), TypeError, "key: "),
    "data for batches": (lambda: descent(ROWS), TypeError, "batches: "),
    "no key": (lambda: gdjax.run(descent(KINDS["shuffled"], key=None)), ValueError, "key: "),
    "no key to step": (
        lambda: gdjax.init(descent(KINDS["stochastic"], key=None)),
        ValueError,
        "key: ",
    ),
    "no key in a sweep": (
        lambda: gdjax.sweep(lambda n: descent(KINDS["replaced"], key=None), n=[1]),
        ValueError,
        "key: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, no_compilation):
    make, error, message = REFUSED[case]
    with pytest.raises(error, match=f"^{message}"), no_compilation():
        make()
