"""The whole list of what is refused, with the argument named, before anything is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent


def bowl(w):
    return jnp.sum(w**2)


def descent(**changes):
    return Descent(**({"loss": bowl, "params": 1.0, "optimizer": optax.sgd(0.1)} | changes))


def sweep(lane=lambda start: descent(params=start), **axes):
    return gdjax.sweep(lane, **axes)


def go_on(d, other):
    return gdjax.run(d, state=gdjax.init(other))


class Unhashable:
    __hash__ = None

    def __call__(self, w):
        return w**2


class UnhashableOptimizer:
    __hash__ = None

    def init(self, params): ...
    def update(self, updates, state, params=None): ...


TWO_KEYS = jax.random.split(jax.random.key(0), 2)
CASES = {
    "vector loss": (
        lambda: gdjax.run(descent(loss=lambda w: w * jnp.ones(3))),
        TypeError,
        "loss: ",
    ),
    "integer loss": (lambda: gdjax.run(descent(loss=lambda w: jnp.int32(1))), TypeError, "loss: "),
    "complex loss": (lambda: gdjax.run(descent(loss=lambda w: w * 1j)), TypeError, "loss: "),
    "loss with more": (lambda: gdjax.run(descent(loss=lambda w: (w, w))), TypeError, "loss: "),
    "loss of nothing": (lambda: gdjax.run(descent(loss=lambda w: None)), TypeError, "loss: "),
    "vector loss in a step": (
        lambda: gdjax.gradient_step(lambda w: w * jnp.ones(3), 1.0, 0.1),
        TypeError,
        "loss: ",
    ),
    "vector loss in a sweep": (
        lambda: sweep(lambda start: descent(loss=lambda w: w * jnp.ones(3)), start=[1.0]),
        TypeError,
        "loss: ",
    ),
    "loss that is no function": (lambda: descent(loss=3.0), TypeError, "loss: "),
    "loss without a hash": (lambda: descent(loss=Unhashable()), TypeError, "loss: "),
    "no parameters": (lambda: descent(params={}), ValueError, "params: "),
    "empty parameters": (lambda: descent(params=jnp.zeros(0)), ValueError, "params: "),
    "integer parameters": (
        lambda: descent(params={"w": jnp.arange(3)}),
        TypeError,
        r"params\['w'\]: ",
    ),
    "integer start in a sweep": (lambda: sweep(start=[1, 2]), TypeError, "params: "),
    "text as parameters": (lambda: descent(params="w"), TypeError, "params: "),
    "integer parameters in a step": (
        lambda: gdjax.gradient_step(bowl, 1, 0.1),
        TypeError,
        "params: ",
    ),
    "no parameters in a step": (lambda: gdjax.gradient_step(bowl, (), 0.1), ValueError, "params: "),
    "infinite learning rate": (
        lambda: gdjax.gradient_step(bowl, 1.0, np.inf),
        ValueError,
        "learning_rate: ",
    ),
    "vector of learning rates": (
        lambda: gdjax.gradient_step(bowl, 1.0, jnp.ones(2)),
        TypeError,
        "learning_rate: ",
    ),
    "learning rates that are no prefix": (
        lambda: gdjax.gradient_step(bowl, 1.0, {"w": 0.1}),
        ValueError,
        "learning_rate: ",
    ),
    "optimizer not built": (lambda: descent(optimizer=optax.sgd), TypeError, "optimizer: "),
    "optimizer that is a class": (lambda: descent(optimizer=dict), TypeError, "optimizer: "),
    "optimizer without a hash": (
        lambda: descent(optimizer=UnhashableOptimizer()),
        TypeError,
        "optimizer: ",
    ),
    "args that are no tuple": (lambda: descent(args=jnp.ones(2)), TypeError, "args: "),
    "args with a string": (
        lambda: descent(args=({"x": "abc"},)),
        TypeError,
        "args\\[0\\]\\[.x.\\]: ",
    ),
    "stop that is a number": (lambda: descent(stop=1e-3), TypeError, "stop: "),
    "negative tolerance": (lambda: gdjax.stop.gradient_below(-1.0), ValueError, "tol: "),
    "tolerance that is no number": (lambda: gdjax.stop.gradient_below("a"), TypeError, "tol: "),
    "vector of tolerances": (lambda: gdjax.stop.step_below(jnp.ones(2)), TypeError, "tol: "),
    "infinite loss to stop at": (lambda: gdjax.stop.loss_below(np.nan), ValueError, "value: "),
    "negative budget": (lambda: descent(max_steps=-1), ValueError, "max_steps: "),
    "negative budget in an array": (
        lambda: descent(max_steps=jnp.array(-1)),
        ValueError,
        "max_steps: ",
    ),
    "infinite budget": (lambda: descent(max_steps=np.inf), TypeError, "max_steps: "),
    "broken budget": (lambda: descent(max_steps=10.5), TypeError, "max_steps: "),
    "budget beyond int32": (lambda: descent(max_steps=2**31), ValueError, "max_steps: "),
    "number as key": (lambda: descent(key=0), TypeError, "key: "),
    "floats as key": (lambda: descent(key=jnp.zeros(2)), TypeError, "key: "),
    "two keys": (lambda: descent(key=TWO_KEYS), TypeError, "key: "),
    "number as key of a sweep": (lambda: sweep(start=[1.0], key=0), TypeError, "key: "),
    "number as key of starts": (lambda: gdjax.uniform(0, [(0, 1)], 3), TypeError, "key: "),
    "state of other shapes": (
        lambda: go_on(descent(params=jnp.ones(3)), descent(params=jnp.ones(2))),
        TypeError,
        "state",
    ),
    "state of shapes that the loss cannot take": (
        lambda: go_on(
            descent(loss=lambda w: jnp.sum(jnp.eye(3) @ w), params=jnp.ones(3)),
            descent(params=jnp.ones(2)),
        ),
        TypeError,
        "state",
    ),
    "state of another dtype": (
        lambda: go_on(descent(params=jnp.float16(1)), descent(params=jnp.float32(1))),
        TypeError,
        "state",
    ),
    "state of another optimizer": (
        lambda: go_on(descent(optimizer=optax.adam(0.1)), descent()),
        TypeError,
        "state",
    ),
    "state of another optimizer in step": (
        lambda: gdjax.step(descent(optimizer=optax.adam(0.1)), gdjax.init(descent())),
        TypeError,
        "state",
    ),
    "something else as state": (lambda: gdjax.run(descent(), state=3), TypeError, "state: "),
    "something else as descent": (lambda: gdjax.run(bowl), TypeError, "d: "),
    "optimizer whose state changes its dtype": (
        lambda: gdjax.run(
            descent(
                optimizer=optax.GradientTransformation(
                    lambda params: jnp.float16(0), lambda g, s, params=None: (g, jnp.float32(0))
                )
            )
        ),
        TypeError,
        "optimizer: ",
    ),
    "no axis": (lambda: sweep(), ValueError, "sweep: "),
    "axis of length 0": (lambda: sweep(start=[]), ValueError, "start: "),
    "array of length 0": (lambda: sweep(start=jnp.zeros((0, 2))), ValueError, "start: "),
    "scalar as axis": (lambda: sweep(start=1.0), TypeError, "start: "),
    "text as axis": (lambda: sweep(start=["a"]), TypeError, r"start.*: "),
    "two dims of one name": (
        lambda: sweep(lambda start, x: descent(), start=gdjax.grid(x=(0, 1, 2)), x=[1.0]),
        ValueError,
        "x: ",
    ),
    "axis that the lane does not take": (
        lambda: sweep(start=[1.0], momentum=[0.9]),
        TypeError,
        "momentum: ",
    ),
    "axis that the lane lacks": (
        lambda: sweep(lambda start, rate: descent(), start=[1.0]),
        TypeError,
        "rate: ",
    ),
    "key that the lane lacks": (
        lambda: sweep(lambda start, key: descent(), start=[1.0]),
        TypeError,
        "key: ",
    ),
    "leaves of different length": (
        lambda: sweep(start={"a": np.ones(2), "b": np.ones(3)}),
        ValueError,
        "start: ",
    ),
    "paired values of different length": (
        lambda: sweep(start=gdjax.paired(a=[1.0], b=[1.0, 2.0])),
        ValueError,
        "start: ",
    ),
    "list of different shapes": (
        lambda: sweep(start=[np.ones(2), np.ones(3)]),
        ValueError,
        "start: ",
    ),
    "lane that returns no descent": (lambda: sweep(bowl_of, start=[1.0]), TypeError, "lane: "),
    "lane that is no function": (lambda: sweep(3, start=[1.0]), TypeError, "lane: "),
    "size of an array swept": (
        lambda: sweep(lambda size: descent(params=jnp.zeros(size)), size=[1, 2]),
        TypeError,
        "size: ",
    ),
    "end of a slice swept": (
        lambda: sweep(lambda size: descent(params=jnp.zeros(5)[:size]), size=[1, 2]),
        TypeError,
        "size: ",
    ),
    "length of a schedule swept": (
        lambda: sweep(
            lambda start, length: descent(
                params=start, optimizer=optax.sgd(optax.cosine_decay_schedule(0.1, length))
            ),
            start=[1.0],
            length=[10, 20],
        ),
        TypeError,
        "length: ",
    ),
    "axis that is traced": (
        lambda: jax.jit(lambda start: sweep(start=start).loss)(jnp.ones(3)),
        TypeError,
        "start: .*jax.vmap",
    ),
    "tile of 0": (lambda: sweep(start=[1.0], tile=0), ValueError, "tile: "),
    "tile that is a word": (lambda: sweep(start=[1.0], tile="big"), TypeError, "tile: "),
    "block of 0": (lambda: sweep(start=[1.0], block_size=0), ValueError, "block_size: "),
    "grid with bounds swapped": (lambda: gdjax.grid(x=(1, 0, 3)), ValueError, r"grid\['x'\]: "),
    "grid with an infinite bound": (lambda: gdjax.grid((0, np.inf, 3)), ValueError, r"grid\[0\]"),
    "grid without points": (lambda: gdjax.grid((0, 1, 0)), ValueError, r"grid\[0\] n: "),
    "grid range of two": (lambda: gdjax.grid((0, 1)), TypeError, r"grid\[0\]: "),
    "grid both ways": (lambda: gdjax.grid((0, 1, 2), x=(0, 1, 2)), TypeError, "grid: "),
    "grid of nothing": (lambda: gdjax.grid(), ValueError, "grid: "),
    "box of nothing": (lambda: gdjax.sobol([], 3), ValueError, "box: "),
    "box that is a number": (lambda: gdjax.sobol(3, 3), TypeError, "box: "),
    "no starts": (lambda: gdjax.sobol([(0, 1)], 0), ValueError, "n: "),
    "unknown landscape": (
        lambda: gdjax.landscapes.get("himelblau"),
        ValueError,
        ".*himelblau.*himmelblau",
    ),
    "map of something else": (lambda: gdjax.map_basins([1, 2]), TypeError, "runs: "),
    "map with tolerance 0": (
        lambda: gdjax.map_basins(sweep(start=[1.0]), tol=0.0),
        ValueError,
        "tol: ",
    ),
    "fractions of floats": (lambda: gdjax.basins.fractions([0.5]), TypeError, "labels: "),
    "fractions of nothing": (lambda: gdjax.basins.fractions([]), ValueError, "labels: "),
}


def bowl_of(start):
    return start


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_by_name(case):
    call, error, match = CASES[case]
    with pytest.raises(error, match=f"^{match}"):
        call()


COMPILES_ITS_INPUT = {name for name in CASES if name.startswith("state of")} | {
    "map with tolerance 0",
    "axis that is traced",
}


@pytest.mark.parametrize("case", sorted(CASES.keys() - COMPILES_ITS_INPUT))
def test_it_is_refused_before_anything_is_compiled(case, no_compilation):
    call, error, _ = CASES[case]
    with pytest.raises(error):
        call()  # what JAX itself compiles to make small constants, it keeps
    with no_compilation(), pytest.raises(error):
        call()
