"""What an update costs, by XLA's own count and by arithmetic."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import batches

ROWS, DIM = 512, 64
DATA = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float32)


def loss(w, batch):
    return jnp.mean((batch @ w) ** 2)


def descent(drawn, optimizer=None):
    optimizer = optax.sgd(1e-3) if optimizer is None else optimizer
    return gdjax.Descent(loss, jnp.ones(DIM), optimizer, batches=drawn, max_steps=5, stop=None)


@pytest.mark.parametrize("size", [ROWS, ROWS // 8])
def test_operations_are_those_of_two_products_with_the_batch(size):
    found = gdjax.cost(descent(batches.mini(DATA, size, shuffle=False)))
    assert (found.examples, found.gradients) == (size, 1)
    assert found.flops == pytest.approx(4 * size * DIM, rel=0.1)
    assert found.bytes >= 4 * size * DIM


def in_micro_batches(w, batch):
    return jnp.mean(jax.lax.map(lambda rows: loss(w, rows), batch.reshape(-1, ROWS // 8, DIM)))


def in_nested_loops(w, batch):
    parts = batch.reshape(2, 2, -1, DIM)
    return jnp.mean(jax.lax.map(lambda part: jax.lax.map(lambda x: loss(w, x), part), parts))


def unrolled(w, batch):
    def body(total, rows):
        return total + loss(w, rows) / 8, None

    return jax.lax.scan(body, 0.0, batch.reshape(8, -1, DIM), unroll=3)[0]


def in_a_branch(w, batch):
    return jax.lax.cond(w[0] > 0, in_micro_batches, lambda w, _: w[0], w, batch)


@pytest.mark.parametrize("looped", [in_micro_batches, in_nested_loops, unrolled, in_a_branch])
def test_a_loop_counts_as_often_as_it_runs(looped):
    d = descent(batches.full(DATA))
    found = gdjax.cost(replace(d, loss=looped))
    assert found.flops == pytest.approx(gdjax.cost(d).flops, rel=0.1)
    assert found.bytes > DATA.nbytes


def test_a_run_sees_the_batch_at_its_start_too():
    drawn = batches.mini(DATA, 64, shuffle=False)
    result = gdjax.run(descent(drawn))
    assert gdjax.cost(descent(drawn)).of(result.steps).examples == 6 * 64


def test_without_batches_the_examples_are_not_known():
    found = gdjax.cost(gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.1)))
    assert np.isnan(found.examples)
    assert found.flops > 0


def test_nothing_is_run():
    big = gdjax.Descent(lambda w: jnp.sum(w**2), jnp.ones(3), optax.sgd(0.1), max_steps=10**9)
    assert gdjax.cost(big).gradients == 1


def test_runs_report_what_each_of_them_cost():
    def lane(rate, steps):
        d = descent(batches.full(DATA))
        return gdjax.Descent(
            d.loss, d.params, optax.sgd(rate), batches=d.batches, stop=None, max_steps=steps
        )

    runs = gdjax.sweep(lane, rate=[1e-3, 2e-3], steps=[1, 4, 9])
    np.testing.assert_array_equal(runs.cost.examples, [[1024, 2560, 5120]] * 2)
    one = gdjax.cost(runs.descent(0, 0)).flops
    np.testing.assert_allclose(runs.cost.flops, one * (runs.steps + 1))


def test_what_is_no_descent_is_refused():
    with pytest.raises(TypeError, match=r"^d: "):
        gdjax.cost(3)


@pytest.mark.long
@pytest.mark.parametrize("pad", [False, True])
def test_runs_of_swept_batch_sizes_saw_the_examples_of_their_own(pad):
    def loss(w, batch):
        x, weights = batch
        return jnp.average((w - x) ** 2, weights=weights)

    def lane(rate, size):
        drawn = batches.mini(jnp.arange(10.0), size, most=5, pad=pad)
        return gdjax.Descent(loss, 0.0, optax.sgd(rate), batches=drawn, stop=None, max_steps=4)

    runs = gdjax.sweep(lane, rate=[0.1, 0.2], size=[1, 4, 5], key=jax.random.key(0))
    seen = [5, 4 + 4 + 2 + 4 + 4, 25] if pad else [5, 20, 25]
    np.testing.assert_array_equal(runs.cost.examples, [seen] * 2)


def test_a_short_last_batch_counts_as_the_examples_that_it_has():
    def loss(w, batch):
        return jnp.average((w - batch.examples) ** 2, weights=batch.weights)

    drawn = batches.mini(jnp.arange(10.0), 4, shuffle=False, pad=True)
    seen = [
        gdjax.run(
            gdjax.Descent(loss, 0.0, optax.sgd(0.1), batches=drawn, stop=None, max_steps=steps)
        ).cost.examples
        for steps in (0, 1, 2, 3, 7)
    ]
    assert seen == [4, 8, 10, 14, 28]


@pytest.mark.parametrize(
    ("options", "examples"),
    [({"size": 4}, 4), ({"size": 4, "pad": True}, 10 / 3), ({"size": 3, "most": 5}, 3)],
    ids=["plain", "padded", "of a size below the largest"],
)
def test_examples_of_an_update_are_those_that_count(options, examples):
    batches = gdjax.batches.mini(jnp.arange(10.0), **options)

    def loss(w, batch):
        return jnp.mean((w - jax.tree.leaves(batch)[0]) ** 2)

    d = gdjax.Descent(loss, 0.0, optax.sgd(0.1), batches=batches, key=jax.random.key(0))
    assert gdjax.cost(d).examples == pytest.approx(examples)


@pytest.mark.long
def test_batches_on_the_host_cost_what_those_in_memory_do():
    hosts = {
        "drawn": (batches.host(DATA, 64, shuffle=False), 6 * 64),
        "padded": (batches.host(DATA, 100, shuffle=False, pad=True), ROWS),
        "streamed": (
            batches.stream(lambda: (DATA[i : i + 64] for i in range(0, ROWS, 64))),
            6 * 64,
        ),
    }
    memory = gdjax.cost(descent(batches.mini(DATA, 64, shuffle=False)))
    for name, (drawn, examples) in hosts.items():
        d = descent(drawn)
        if name == "padded":
            d = gdjax.Descent(
                weighted, d.params, d.optimizer, batches=drawn, max_steps=5, stop=None
            )
        found = gdjax.run(d).cost
        assert found.examples == pytest.approx(examples)
        assert found.flops >= 6 * 0.9 * memory.flops


def weighted(w, batch):
    rows, weights = batch
    return jnp.average((rows @ w) ** 2, weights=weights)


def test_a_result_reports_what_it_cost():
    d = descent(batches.mini(DATA, 64, shuffle=False))
    assert gdjax.run(d).cost == gdjax.cost(d).of(5)


def test_a_result_that_went_on_reports_all_of_it():
    d = descent(batches.mini(DATA, 64, shuffle=False))
    assert gdjax.run(d, state=gdjax.run(d).state).cost.examples == 11 * 64


@pytest.mark.long
def test_gradients_of_a_search_along_a_line_are_counted():
    calls = []

    def counted(w, batch):
        jax.debug.callback(lambda: calls.append(1))
        return 50 * jnp.mean((batch @ w) ** 2) + jnp.sum(w**4)

    searching = optax.chain(optax.scale(-1.0), optax.scale_by_zoom_linesearch(20))
    d = gdjax.Descent(
        counted, jnp.ones(DIM), searching, batches=batches.full(DATA), stop=None, max_steps=7
    )
    result = gdjax.run(d)
    jax.effects_barrier()
    evaluations = len(calls)
    found = result.cost
    assert found.gradients == evaluations > 2 * (7 + 1)
    assert found.examples == evaluations * ROWS


@pytest.mark.long
def test_searches_on_the_host_are_counted_as_those_in_memory():
    searching = optax.chain(optax.scale(-1.0), optax.scale_by_zoom_linesearch(20))
    memory, host = (
        gdjax.run(
            gdjax.Descent(
                loss,
                jnp.ones(DIM),
                searching,
                batches=kind(DATA[:40], 8, shuffle=False),
                stop=None,
                max_steps=3,
            )
        ).cost
        for kind in (batches.mini, batches.host)
    )
    assert host.gradients == memory.gradients > 4
    assert host.examples == 8 * host.gradients


@pytest.mark.long
def test_the_searches_of_another_number_of_steps_compile_nothing(no_compilation):
    searching = optax.chain(optax.scale(-1.0), optax.scale_by_zoom_linesearch(20))
    d = gdjax.Descent(loss, jnp.ones(DIM), searching, batches=batches.full(DATA), max_steps=2)
    one, other = (gdjax.run(replace(d, max_steps=steps)) for steps in (2, 3))
    assert one.cost.gradients < other.cost.gradients
    third = gdjax.run(replace(d, max_steps=4))
    with no_compilation():
        assert third.cost.gradients > other.cost.gradients


@pytest.mark.long
@pytest.mark.parametrize("stored", [False, True])
def test_the_losses_of_a_search_that_backtracks_are_examples_but_no_gradients(stored):
    losses = []

    def counted(w, batch):
        jax.debug.callback(lambda: losses.append(1))
        return 50 * jnp.mean((batch @ w) ** 2) + jnp.sum(w**4)

    searching = optax.chain(
        optax.scale(-1.0), optax.scale_by_backtracking_linesearch(20, store_grad=stored)
    )
    data = batches.full(DATA)
    d = gdjax.Descent(counted, jnp.ones(DIM), searching, batches=data, stop=None, max_steps=7)
    result = gdjax.run(d)
    jax.effects_barrier()
    evaluations = len(losses)
    found = result.cost
    assert found.examples == evaluations * ROWS > 2 * (7 + 1) * ROWS
    assert found.gradients == (1 + stored) * 7 + 1


@pytest.mark.long
def test_runs_count_the_gradients_of_the_searches_of_each_lane():
    searching = optax.chain(optax.scale(-1.0), optax.scale_by_zoom_linesearch(20))

    def lane(start, steps):
        drawn = batches.full(DATA[:8])
        return gdjax.Descent(loss, start, searching, batches=drawn, max_steps=steps)

    starts = np.stack([np.ones(DIM), np.arange(DIM)])
    runs = gdjax.sweep(lane, start=starts, steps=[0, 3])
    alone = [[gdjax.run(runs.descent(i, j)).cost for j in range(2)] for i in range(2)]
    gradients = [[float(one.gradients) for one in row] for row in alone]
    np.testing.assert_array_equal(runs.cost.gradients, gradients)
    np.testing.assert_array_equal(runs.cost.examples, 8 * np.array(gradients))
    assert gradients[0][0] == 1
    assert gradients[1][1] > 2 * (3 + 1)


def test_a_result_is_the_same_pytree_with_or_without_its_descent():
    d = descent(batches.full(DATA))
    result = gdjax.run(d)
    assert jax.tree.structure(result) == jax.tree.structure(jax.jit(lambda: gdjax.run(d))())
    assert isinstance(jax.tree.map(jnp.asarray, result), gdjax.Result)


@pytest.mark.parametrize("through", [jax.jit, jax.vmap], ids=["jit", "vmap"])
def test_out_of_jit_and_vmap_a_result_says_how_to_have_its_cost(through):
    d = descent(batches.full(DATA))
    run = through(
        lambda rate: gdjax.run(
            gdjax.Descent(loss, d.params, optax.sgd(rate), batches=d.batches, max_steps=2)
        )
    )
    with pytest.raises(TypeError, match=r"^result: .*gdjax\.cost\(d\)\.of\(result\.steps\)"):
        print(run(jnp.full(2 if through is jax.vmap else (), 1e-3)).cost)


@pytest.mark.parametrize("sizes", [[1, 0, 4], [1, 4, 6]])
def test_a_swept_batch_size_that_no_batch_can_have_is_refused(sizes):
    def lane(rate, size):
        drawn = batches.mini(jnp.arange(10.0), 2 * size, most=10)
        return gdjax.Descent(lambda w, b: w * b[1].sum(), 0.0, optax.sgd(rate), batches=drawn)

    key, wrong = jax.random.key(0), next(2 * size for size in sizes if not 0 < size < 6)
    with pytest.raises(ValueError, match=f"^size: .*1 to the 10 of most, got {wrong} at rate 0"):
        gdjax.sweep(lane, rate=[0.1, 0.2], size=sizes, key=key)
