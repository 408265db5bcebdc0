"""One registry of the remedies drives what must hold for all of them."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status, transforms

REMEDIES = {
    "perturb": lambda rate, key: optax.chain(
        optax.sgd(rate), transforms.perturb(key, 0.1, grad_below=5.0, patience=3, least_fall=1e-3)
    ),
    "restart_by_gradient": lambda rate, key: optax.chain(
        optax.sgd(rate), transforms.adaptive_restart()
    ),
    "restart_by_function": lambda rate, key: optax.chain(
        optax.sgd(rate), transforms.adaptive_restart("function")
    ),
    "barzilai_borwein_long": lambda rate, key: transforms.barzilai_borwein(rate, "long"),
    "barzilai_borwein_short": lambda rate, key: transforms.barzilai_borwein(rate),
    "malitsky_mishchenko": lambda rate, key: transforms.malitsky_mishchenko(rate),
    "stable_learning_rate": lambda rate, key: transforms.scale_by_stable_learning_rate(
        10 * rate, key
    ),
    "exact_line_search": lambda rate, key: transforms.exact_line_search(rate),
}
LONGER = [  # the second of their kind, and what has a file of its own
    "restart_by_function",
    "barzilai_borwein_long",
    "malitsky_mishchenko",
    "exact_line_search",
    "stable_learning_rate",
]
SOME_NOW_ALL_ON_PURPOSE = [
    pytest.param(name, marks=pytest.mark.long if name in LONGER else ()) for name in REMEDIES
]
each = pytest.mark.parametrize("name", REMEDIES)
some = pytest.mark.parametrize("name", SOME_NOW_ALL_ON_PURPOSE)


def wavy(params, c):
    """Return a loss with positive and negative curvature that grows like a square."""
    w, b = params["w"], params["b"]
    curvatures = jnp.arange(1, 4).astype(w.dtype)
    bowl = jnp.sum(curvatures * w**2) + (b - w[0]) ** 2
    return c * (0.5 * bowl + jnp.sum(jnp.cos(2 * w))).astype(jnp.float32)


def described(name, seed=0.0, rate=0.05, key=None, dtypes=("float32", "float32"), c=1.0, steps=12):
    key = jax.random.key(7) if key is None else key
    start = {"w": (seed + jnp.arange(3)).astype(dtypes[0]), "b": jnp.ones((), dtypes[1])}
    optimizer = REMEDIES[name](rate, key)
    return Descent(wavy, start, optimizer, (jnp.float32(c),), stop=None, max_steps=steps)


SEEDS, RATES = np.array([-0.5, 0.3], "f"), np.array([0.02, 0.1], "f")
KEY = jax.random.key(3)
LANES = (
    *(x.ravel() for x in np.meshgrid(SEEDS, RATES, indexing="ij")),
    jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(4)),
)


@cache
def alone(name):
    """Return where each of the lanes ends that is run by itself: [4, 3]."""
    run = jax.jit(lambda *values: gdjax.run(described(name, *values)).params["w"])
    ends = np.stack([run(*values) for values in zip(*LANES)])
    assert len(np.unique(ends, axis=0)) > 1
    return ends


@some
def test_lanes_of_a_sweep_equal_the_runs_alone(name):
    def lane(seed, rate, key):
        return described(name, seed, rate, key)

    swept = gdjax.sweep(lane, seed=SEEDS, rate=RATES, key=KEY).params["w"]
    np.testing.assert_allclose(swept.reshape(4, 3), alone(name), rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", ["stable_learning_rate", "exact_line_search"])
def test_group_of_parameters_moves_as_if_the_others_were_constants(name):
    d = described(name)

    def group(params, c, b):
        return wavy({"w": params["w"], "b": b}, c)

    alone = replace(d, loss=group, params={"w": d.params["w"]}, args=(*d.args, d.params["b"]))
    groups = {"moves": d.optimizer, "rests": optax.set_to_zero()}
    grouped = replace(d, optimizer=optax.partition(groups, {"w": "moves", "b": "rests"}))
    expected, found = gdjax.run(alone), gdjax.run(grouped)
    assert expected.loss < wavy(d.params, *d.args) - 0.1
    np.testing.assert_allclose(found.params["w"], expected.params["w"], rtol=1e-5)


@pytest.mark.long
@some
def test_hyperparameters_may_be_injected_under_vmap(name):
    def end(seed, rate, key):
        optimizer = optax.inject_hyperparams(REMEDIES[name])(rate=rate, key=key)
        return gdjax.run(replace(described(name, seed), optimizer=optimizer)).params["w"]

    together = jax.jit(jax.vmap(end))(*LANES)
    np.testing.assert_allclose(together, alone(name), rtol=1e-4, atol=1e-5)


LOSSES = (
    lambda w: 0 * jnp.sum(w),
    lambda w: jnp.sum(w),
    lambda w: jnp.sum(w**2),
    lambda w: -jnp.sum(w**2),
    lambda w: w[0] ** 2 - w[1] ** 2,
    lambda w: jnp.sum(w**4),
    lambda w: jnp.sum(jnp.abs(w)),
    lambda w: jnp.sum(jax.nn.relu(w)),
)


@pytest.mark.long
@some
def test_flat_straight_concave_and_kinked_losses_never_make_nan(name):
    def loss(w, number):
        return sum(jnp.where(number == i, f(w), 0) for i, f in enumerate(LOSSES))

    @jax.jit
    @jax.vmap
    def numbers(number, start):
        optimizer = REMEDIES[name](0.1, jax.random.key(0))
        d = Descent(loss, start, optimizer, (number,), stop=None, max_steps=6)
        result = gdjax.run(d)
        return result.status, jax.tree.leaves((result.params, result.state.opt_state))

    starts = jnp.array([[0.0, 0.0], [1.0, -2.0], [1e-30, 1e-30]])
    lanes = jnp.repeat(jnp.arange(len(LOSSES)), 3), jnp.tile(starts, (len(LOSSES), 1))
    status, leaves = numbers(*lanes)
    assert (status == Status.STEP_LIMIT).all()
    assert not any(jnp.isnan(leaf).any() for leaf in leaves)


@each
@pytest.mark.parametrize("dtypes", [("float16", "float32"), ("float64", "float64")])
def test_each_leaf_keeps_its_dtype(name, dtypes):
    with jax.enable_x64("float64" in dtypes):
        d = described(name, dtypes=dtypes)

        def stepped():
            state = d.optimizer.init(d.params)
            grad = jax.tree.map(jnp.ones_like, d.params)
            value, value_fn = jnp.float32(1), lambda params: wavy(params, 1.0)
            more = {"value": value, "grad": grad, "value_fn": value_fn}
            return state, d.optimizer.update(grad, state, d.params, **more)

        before, (updates, after) = jax.tree.map(lambda x: x.dtype, jax.eval_shape(stepped))
    assert (updates["w"], updates["b"]) == dtypes
    assert before == after
    if "float64" in dtypes:
        assert jnp.float32 not in jax.tree.leaves(after)


@each
def test_a_python_number_may_be_the_parameters(name):
    optimizer, loss = REMEDIES[name](0.1, jax.random.key(0)), jnp.square

    def stepped():
        more = {"value": loss(3.0), "grad": jax.grad(loss)(3.0), "value_fn": loss}
        return optimizer.update(more["grad"], optimizer.init(3.0), 3.0, **more)[0]

    assert jax.eval_shape(stepped).dtype == jnp.float32


SCALE_FREE = ["barzilai_borwein_short", "malitsky_mishchenko", "exact_line_search"]


@pytest.mark.parametrize("name", SCALE_FREE)
def test_scale_of_the_loss_changes_nothing(name):
    def last(c):
        return gdjax.run(described(name, rate=0.01 / c, c=c)).params["w"]

    # Squares of such gradients underflow and overflow float32.
    ends = jax.jit(jax.vmap(last))(2.0 ** jnp.array([0.0, -90.0, 90.0]))
    np.testing.assert_allclose(ends[1:], np.stack([ends[0]] * 2), rtol=1e-5)


def complex_loss(z):
    x, y = z
    return jnp.sum(x**2 + 3 * y**2 + x * y + x**4 / 4) + y[0]


@pytest.mark.long
# The vectors that stable_learning_rate begins with are drawn otherwise: it has a test of its own.
@pytest.mark.parametrize("name", ["perturb", "restart_by_gradient", "barzilai_borwein_short"])
def test_complex_parameters_are_pairs_of_real_ones(name, x64):
    real, imag = jnp.array([0.5, -1.0]), jnp.array([2.0, 0.1])

    def end(loss, start):
        optimizer = REMEDIES[name](0.05, jax.random.key(1))
        return gdjax.run(Descent(loss, start, optimizer, stop=None, max_steps=10)).params

    z = end(lambda z: complex_loss((z.real, z.imag)), real + 1j * imag)
    x, y = end(complex_loss, (real, imag))
    np.testing.assert_allclose(z, x + 1j * y, rtol=1e-9, atol=1e-12)


BAD = {
    "key": (TypeError, lambda: transforms.perturb(0, 0.1, 0.1, 3)),
    "radius": (ValueError, lambda: transforms.perturb(jax.random.key(0), -0.1, 0.1, 3)),
    "grad_below": (ValueError, lambda: transforms.perturb(jax.random.key(0), 0.1, np.nan, 3)),
    "patience": (ValueError, lambda: transforms.perturb(jax.random.key(0), 0.1, 0.1, 0)),
    "least_fall": (TypeError, lambda: transforms.perturb(jax.random.key(0), 0.1, 0.1, 3, "x")),
    "scheme": (ValueError, lambda: transforms.adaptive_restart("speed")),
    "kind": (ValueError, lambda: transforms.barzilai_borwein(0.1, "middle")),
    "max_learning_rate": (ValueError, lambda: transforms.barzilai_borwein(0.1, "long", 0.0)),
    "learning_rate": (ValueError, lambda: transforms.malitsky_mishchenko(-1.0)),
    "limit": (
        ValueError,
        lambda: transforms.scale_by_stable_learning_rate(0.1, jax.random.key(0), 0.0),
    ),
    "fallback": (TypeError, lambda: transforms.exact_line_search(None)),
    "value_fn": (
        TypeError,
        lambda: transforms.exact_line_search().update(*[jnp.ones(1)] * 3, grad=jnp.ones(1)),
    ),
    "params": (
        TypeError,
        lambda: (bb := transforms.barzilai_borwein(0.1)).update(1.0, bb.init(1.0)),
    ),
}


@pytest.mark.parametrize("argument", BAD)
def test_bad_argument_is_named(argument):
    error, call = BAD[argument]
    with pytest.raises(error, match=f"^{argument}: "):
        call()
