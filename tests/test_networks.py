"""Networks as they are: of flax, equinox and plain dicts, in a descent with batches."""

import chex
import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.tree_util import Partial

import gdjax
from gdjax import Descent, batches

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (32, 2))
DATA = (X, jnp.sin(X[:, 0]) * X[:, 1])
HELD_OUT = (X[::-1] + 0.1, DATA[1] + 0.1)


def squared(predicted, y):
    return jnp.mean((predicted[:, 0] - y) ** 2)


def of_dict():
    first, last = jax.random.split(KEY)
    params = {
        "first": {"w": jax.random.normal(first, (2, 8)), "b": jnp.zeros(8)},
        "last": {"w": jax.random.normal(last, (8, 1)) / 3, "b": jnp.zeros(1)},
    }
    return dict_loss, params


def dict_loss(params, batch):
    x, y = batch
    first, last = params["first"], params["last"]
    hidden = jnp.tanh(x @ first["w"] + first["b"][None])
    return squared(hidden @ last["w"] + last["b"][None], y)


def of_linen():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(1)(jnp.tanh(linen.Dense(8)(x)))

    net = Net()
    return lambda params, batch: squared(net.apply(params, batch[0]), batch[1]), net.init(KEY, X)


def of_nnx():
    rngs = nnx.Rngs(0)
    net = nnx.Sequential(nnx.Linear(2, 8, rngs=rngs), jnp.tanh, nnx.Linear(8, 1, rngs=rngs))
    graph, params, rest = nnx.split(net, nnx.Param, ...)

    def loss(params, batch):
        return squared(nnx.merge(graph, params, rest)(batch[0]), batch[1])

    return loss, params


def of_equinox():
    net = eqx.nn.MLP(2, 1, 8, 1, jnp.tanh, key=KEY)
    params, static = eqx.partition(net, eqx.is_inexact_array)

    def loss(params, batch):
        return squared(jax.vmap(eqx.combine(params, static))(batch[0]), batch[1])

    return loss, params


NETWORKS = {"dict": of_dict, "linen": of_linen, "nnx": of_nnx, "equinox": of_equinox}


@pytest.mark.parametrize(
    "library",
    ["nnx", *(pytest.param(n, marks=pytest.mark.long) for n in ("dict", "linen", "equinox"))],
)
def test_a_network_descends_as_in_a_loop_by_hand(library):
    loss, start = NETWORKS[library]()
    optimizer, drawn = optax.adam(0.05), batches.mini(DATA, 8)
    d = Descent(loss, start, optimizer, batches=drawn, stop=None, max_steps=40, key=KEY)
    result = gdjax.run(d)

    @jax.jit
    def by_hand(step, params, state):
        updates, state = optimizer.update(jax.grad(loss)(params, drawn.at(KEY, step)), state)
        return optax.apply_updates(params, updates), state

    params, state = start, optimizer.init(start)
    for step in range(40):
        params, state = by_hand(step, params, state)
    assert jax.tree.structure(result.params) == jax.tree.structure(start)
    chex.assert_trees_all_close(result.params, params, rtol=1e-3, atol=1e-5)
    assert loss(result.params, DATA) < loss(start, DATA)


@pytest.mark.long
@pytest.mark.parametrize(
    "library",
    ["nnx", *(pytest.param(name, marks=pytest.mark.long) for name in ("dict", "linen", "equinox"))],
)
def test_starts_of_a_network_are_swept(library):
    loss, start = NETWORKS[library]()
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), start)

    def lane(start):
        return Descent(
            loss, start, optax.sgd(0.1), batches=batches.full(DATA), stop=None, max_steps=5
        )

    runs = gdjax.sweep(lane, start=starts)
    alone = gdjax.run(lane(start))
    ends = jax.tree.map(lambda leaf: leaf[0], runs.params)
    chex.assert_trees_all_close(ends, alone.params, rtol=1e-4, atol=1e-6)


def descent(optimizer, params=None, **changes):
    fixed = {"batches": batches.full(DATA), "stop": None, "max_steps": 5}
    start = of_dict()[1] if params is None else params
    return Descent(dict_loss, start, optimizer, **(fixed | changes))


LABELS = {"first": "slow", "last": "fast"}  # a pytree prefix of the parameters


def test_each_layer_has_its_learning_rate():
    rates = {"first": 0.01, "last": 0.2}
    optimizer = optax.multi_transform({"slow": optax.sgd(0.01), "fast": optax.sgd(0.2)}, LABELS)
    by_labels = gdjax.run(descent(optimizer)).params
    by_prefix = of_dict()[1]
    for _ in range(5):
        by_prefix = gdjax.gradient_step(dict_loss, by_prefix, rates, DATA)
    chex.assert_trees_all_close(by_labels, by_prefix, rtol=1e-5)


@pytest.mark.long
def test_a_pytree_prefix_of_learning_rates_scales_any_optimizer():
    rates = {"first": 0.01, "last": 0.2}

    def scaled(updates, params):
        return jax.tree.map(lambda rate, layer: optax.tree.scale(-rate, layer), rates, updates)

    by_prefix = gdjax.run(descent(optax.chain(optax.scale_by_adam(), optax.stateless(scaled))))
    adams = {"slow": optax.adam(0.01), "fast": optax.adam(0.2)}
    by_labels = gdjax.run(descent(optax.multi_transform(adams, LABELS)))
    chex.assert_trees_all_close(by_prefix.params, by_labels.params, rtol=1e-5)


@pytest.mark.long
def test_learning_rates_of_layers_are_swept():
    start = of_dict()[1]

    def lane(first, last):
        sgds = {"slow": optax.sgd(first), "fast": optax.sgd(last)}
        return descent(optax.multi_transform(sgds, LABELS), start)

    runs = gdjax.sweep(lane, first=[0.0, 0.1], last=[0.0, 0.2])
    np.testing.assert_array_equal(runs.params["first"]["w"][0, 1], start["first"]["w"])
    np.testing.assert_array_equal(runs.params["last"]["w"][1, 0], start["last"]["w"])
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[1, 1], runs.params),
        gdjax.run(lane(0.1, 0.2)).params,
        rtol=1e-4,
    )


FREEZERS = {
    "set_to_zero": optax.multi_transform(
        {"slow": optax.set_to_zero(), "fast": optax.adam(0.1)}, LABELS
    ),
    "masked": optax.chain(
        optax.adam(0.1), optax.masked(optax.set_to_zero(), {"first": True, "last": False})
    ),
}


@pytest.mark.parametrize("how", FREEZERS)
def test_frozen_parameters_stay_to_the_bit(how):
    start, end = of_dict()[1], gdjax.run(descent(FREEZERS[how])).params
    chex.assert_trees_all_equal(end["first"], jax.tree.map(np.asarray, start["first"]))
    assert not np.array_equal(end["last"]["w"], start["last"]["w"])


@pytest.mark.long
def test_a_frozen_part_of_a_partition_is_no_parameter():
    net = eqx.nn.MLP(2, 1, 8, 1, jnp.tanh, key=KEY)
    trained = jax.tree.map(lambda _: False, net)
    trained = eqx.tree_at(lambda net: net.layers[-1].bias, trained, replace=True)
    params, frozen = eqx.partition(net, trained)

    def loss(params, frozen, batch):
        return squared(jax.vmap(eqx.combine(params, frozen))(batch[0]), batch[1])

    # What is left is one number, whose minimum a descent reaches, as no frozen gradient is seen.
    arrays, static = eqx.partition(frozen, eqx.is_array)
    d = Descent(
        lambda params, arrays, batch: loss(params, eqx.combine(arrays, static), batch),
        params,
        optax.sgd(0.25),
        (arrays,),
        batches=batches.full(DATA),
        stop=gdjax.stop.gradient_below(1e-4),
    )
    assert gdjax.run(d).status == gdjax.Status.CONVERGED


@pytest.mark.long
def test_seeds_rates_and_batch_sizes_are_one_sweep():
    def loss(params, batch):
        (x, y), weights = batch
        each = jax.vmap(lambda x, y: dict_loss(params, (x[None], y[None])))(x, y)
        return jnp.average(each, weights=weights)

    def lane(seed, rate, size):
        noise = jax.random.normal(jax.random.fold_in(KEY, seed), (2, 8))
        start = of_dict()[1]
        start["first"]["w"] = noise
        drawn = batches.mini(DATA, size, most=32)
        return Descent(loss, start, optax.sgd(rate), batches=drawn, stop=None, max_steps=10)

    sizes = [1, 8, 32]
    runs = gdjax.sweep(lane, seed=[3, 4], rate=[0.01, 0.1], size=sizes, key=KEY)
    assert runs.dims == ("seed", "rate", "size")
    for i, size in enumerate(sizes):
        d = runs.descent(1, 1, i)
        plain = gdjax.run(
            descent(
                d.optimizer, d.params, batches=batches.mini(DATA, size), key=d.key, max_steps=10
            )
        )
        ends = jax.tree.map(lambda leaf, i=i: leaf[1, 1, i], runs.params)
        chex.assert_trees_all_close(ends, plain.params, rtol=1e-3, atol=1e-5)


def held_out_loss(data, state):
    return dict_loss(state.params, data)


SGD = optax.sgd(0.1)


def evaluated(data, **changes):
    record = {
        "train": gdjax.record.every(5),
        "test": gdjax.record.every(5, Partial(held_out_loss, data)),
        "best": gdjax.record.minimum(Partial(held_out_loss, data)),
    }
    return descent(SGD, max_steps=10, record=record, **changes)


@pytest.mark.long
def test_held_out_data_are_evaluated_on_the_way():
    recorded = gdjax.run(evaluated(HELD_OUT)).record
    for i, steps in enumerate((0, 5, 10)):
        params = gdjax.run(descent(SGD, max_steps=steps)).params
        np.testing.assert_allclose(recorded["test"].values[i], dict_loss(params, HELD_OUT), 1e-5)
    assert recorded["best"] <= recorded["test"].values.min()


def test_other_held_out_data_compile_nothing(no_compilation):
    gdjax.run(evaluated(HELD_OUT))
    other = jax.tree.map(lambda leaf: leaf[::-1], HELD_OUT)
    with no_compilation():
        gdjax.run(evaluated(other))


def program(d):
    return len(jax.jit(gdjax.run).lower(d).as_text())


@pytest.mark.long
def test_no_data_are_compiled_in():
    large = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * 500), HELD_OUT)  # 48,000 numbers
    drawn, stop = batches.mini(large, 4), gdjax.stop.loss_stalled()
    validated = gdjax.stop.validation(Partial(held_out_loss, large), stop, every=5)
    d = evaluated(large, batches=drawn, stop=validated, key=KEY)
    assert program(d) < 200_000
    closed_over = gdjax.record.minimum(lambda state: held_out_loss(large, state))
    assert program(descent(SGD, record=closed_over)) > 300_000


@pytest.mark.long
def test_held_out_data_are_evaluated_in_lanes():
    def lane(rate):
        record = gdjax.record.every(5, Partial(held_out_loss, HELD_OUT))
        return descent(optax.sgd(rate), record=record)

    runs = gdjax.sweep(lane, rate=[0.1, 0.01])
    for i in range(2):
        alone = gdjax.run(lane([0.1, 0.01][i])).record
        np.testing.assert_allclose(runs.record.values[i], alone.values, rtol=1e-4)


MEAN = optax.microbatching.AccumulationType.MEAN
ACCUMULATED = {
    "one update": lambda: descent(SGD, batches=batches.mini(DATA, 16), key=KEY, max_steps=6),
    "steps": lambda: descent(
        optax.MultiSteps(SGD, 4), batches=batches.mini(DATA, 4), key=KEY, max_steps=24
    ),
    "within the loss": lambda: Descent(
        optax.microbatching.microbatch(jax.checkpoint(dict_loss), 1, 4, MEAN),
        of_dict()[1],
        SGD,
        batches=batches.mini(DATA, 16),
        stop=None,
        max_steps=6,
        key=KEY,
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("how", ["within the loss", "steps"])
def test_accumulated_micro_batches_are_the_whole_batch(how):
    whole = gdjax.run(ACCUMULATED["one update"]())
    chex.assert_trees_all_close(
        gdjax.run(ACCUMULATED[how]()).params, whole.params, rtol=1e-4, atol=1e-6
    )
