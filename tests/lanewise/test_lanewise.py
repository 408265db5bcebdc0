import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gdjax.lanewise import (
    evaluate,
    evaluate_abreast,
    needed,
    read,
    scan,
    split_leaf,
    straight,
    suits,
    traced,
    while_loop,
)
from gdjax.lanewise.entries import Entries, whole

X = jnp.array([[1.0, -2.0, 0.5], [3.0, 0.25, -1.5]])
V = jnp.array([0.3, -0.7, 1.1])

FUNCTIONS = {
    "arithmetic of scalars and arrays": lambda x, v: 2 * x + v[None] ** 2 - jnp.sin(x) / 3,
    "an axis of length 1 beside a longer one": lambda x, v: lax.add(x, v.reshape(1, 3) + 0 * x),
    "indices": lambda x, v: x[0, 1] * v[2] - v[-1],
    "slices": lambda x, v: x[:, 1:] * v[None, :2],
    "strided slices": lambda x, v: v[::2] + x[1, ::2],
    "reversed": lambda x, v: x[:, ::-1] - v[None],
    "transposed": lambda x, v: x.T @ x + v[None],
    "matrix times vector": lambda x, v: x @ v,
    "outer product": lambda x, v: jnp.outer(v, v),
    "concatenated": lambda x, v: jnp.concatenate([v, x[0]]),
    "stacked": lambda x, v: jnp.stack([v, x[1]], axis=1),
    "split": lambda x, v: jnp.split(x, [1], axis=1)[1] + v[None, 1:],
    "padded": lambda x, v: jnp.pad(v, (1, 2), constant_values=7.0),
    "cut by a negative pad": lambda x, v: lax.pad(v, 0.0, [(-1, 2, 1)]),
    "reductions": lambda x, v: (x.sum(0), x.max(1), x.min(), x.prod(), jnp.all(x > 0, axis=0)),
    "booleans": lambda x, v: jnp.where(x > v[None], x, -1.0),
    "clipped by scalars": lambda x, v: jnp.clip(x, -1.0, 1.0),
    "whole numbers": lambda x, v: v * (jnp.arange(3) + v.astype(int)),
    "norm": lambda x, v: jnp.linalg.norm(v) + jnp.linalg.norm(x),
    "sorted, which has no rule": lambda x, v: jnp.sort(v) + x[0],
    "gathered, which has no rule": lambda x, v: v[jnp.array([2, 0])],
    "scanned": lambda x, v: lax.fori_loop(0, 3, lambda i, c: c * 0.5 + v, v),
    "conditional": lambda x, v: lax.cond(v[0] > 0, lambda: v, lambda: -v),
    "calls": lambda x, v: jax.nn.relu(jax.jit(jnp.cos)(x)) + jax.checkpoint(jnp.exp)(v)[None],
    "barrier": lambda x, v: lax.optimization_barrier((x, v, x[0, 0])),
    "a large array beside small ones": lambda x, v: (jnp.ones((50, 3)) @ v).sum() + x,
}


def entrywise(function, *args, **lanes):
    """Return what a function returns, computed entry by entry."""
    program, shapes = traced(function, *args)

    def run(*leaves):
        given = {v.number: split_leaf(x, True) for v, x in zip(program.inputs, leaves)}
        found = evaluate(program.operations, given, True)
        return [whole(split_leaf(read(atom, found), True)) for atom in program.outputs]

    leaves = jax.tree.leaves(args)
    outputs = jax.vmap(run, **lanes)(*leaves) if lanes else run(*leaves)
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


def assert_alike(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert jnp.shape(a) == jnp.shape(b)
        assert jnp.result_type(a) == jnp.result_type(b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_entry_by_entry_is_the_same_function(function):
    assert_alike(entrywise(function, X, V), function(X, V))


@pytest.mark.long
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_its_gradient_is_too(function):
    def total(x, v):
        leaves = jax.tree.leaves(function(x, v))
        return sum(jnp.sum(leaf * 1.5) for leaf in leaves if leaf.dtype == x.dtype)

    assert_alike(entrywise(jax.grad(total, (0, 1)), X, V), jax.grad(total, (0, 1))(X, V))


def test_lanes_may_lie_along_the_last_axis_of_every_entry():
    def loss(x):
        return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2

    points = jax.random.normal(jax.random.key(0), (2, 5))
    program, _ = traced(jax.grad(loss), points[:, 0])

    def run(point):
        found = evaluate(program.operations, {program.inputs[0].number: point}, True)
        return split_leaf(read(program.outputs[0], found), True)

    split = Entries.tree_unflatten((2,), list(points))
    found = jax.vmap(run, in_axes=-1, out_axes=-1)(split)
    assert_alike(jnp.stack(jax.tree.leaves(found)), jax.vmap(jax.grad(loss), -1, -1)(points))


def abreast(function, axes, *args):
    """Return what `jax.vmap` returns over the last axes of the arguments, None for those shared."""
    program, shapes = traced(function, *(x[..., 0] if a else x for a, x in zip(axes, args)))

    def run(*args):
        found = dict(zip((v.number for v in program.inputs), args))
        found |= evaluate_abreast(program.operations, found, program.outputs)
        return [jnp.asarray(read(atom, found)) for atom in program.outputs]

    outputs = jax.vmap(run, axes, -1)(*args)
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


def tiles(axes):
    rng = np.random.default_rng(0)
    return [
        jnp.asarray(rng.normal(size=(*x.shape, 5) if axis else x.shape), x.dtype)
        for axis, x in zip(axes, (X, V))
    ]


OTHERS = {
    "matrix times its transpose": lambda x, v: x @ x.T,
    "one product for each row": lambda x, v: jax.vmap(jnp.dot, (0, None))(x, v),
    "batch axes": lambda x, v: jnp.einsum("ij,ij->i", x, x * v[None]),
    "contraction of all axes": lambda x, v: jnp.tensordot(x, x, 2) * v,
    "a long sum": lambda x, v: (x[:, :, None] * jnp.arange(50.0)[None, None]).sum((0, 2)) + v,
    "a sum of nothing": lambda x, v: x[:, :0].sum(1) + v[0],
    "a sum in half precision": lambda x, v: x.astype(jnp.bfloat16).sum() + v.astype(jnp.bfloat16),
    "padded by a value of the lane": lambda x, v: lax.pad(v, v[0], [(1, 2, 0)]),
}


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param((-1, -1), marks=pytest.mark.long),
        (-1, None),
        pytest.param((None, -1), marks=pytest.mark.long),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "function", [*FUNCTIONS.values(), *OTHERS.values()], ids=[*FUNCTIONS, *OTHERS]
)
def test_abreast_is_the_same_function(function, axes):
    args = tiles(axes)
    assert_alike(abreast(function, axes, *args), jax.vmap(function, axes, -1)(*args))


@pytest.mark.long
@pytest.mark.parametrize("axes", [(-1, -1), (-1, None), (None, -1)], ids=str)
@pytest.mark.parametrize("name", ["matrix times vector", "outer product", "transposed", "padded"])
def test_its_gradient_is_too_with_the_lanes_last(name, axes):
    gradient = jax.grad(lambda x, v: jnp.sum(FUNCTIONS[name](x, v) ** 2), (0, 1))
    args = tiles(axes)
    assert_alike(abreast(gradient, axes, *args), jax.vmap(gradient, axes, -1)(*args))


def test_products_with_what_lanes_share_are_one_and_nothing_is_transposed():
    def loss(w, x):
        return jnp.sum(jnp.tanh(x @ w) ** 2)

    x, weights = jnp.ones((6, 3)), jnp.ones((3, 4, 5))
    program, _ = traced(jax.grad(loss), weights[..., 0], x)
    assert suits(program.operations, {program.inputs[1].number})
    run = jax.jit(lambda w, x: abreast(jax.grad(loss), (-1, None), w, x))
    text = run.lower(weights, x).compile().as_text() or ""
    assert not any(f" {name}(" in text for name in ("transpose", "reduce", "reduce-window"))


def test_products_of_two_matrices_of_a_lane_do_not_suit():
    program, _ = traced(lambda x: x @ x.T, X)
    assert not suits(program.operations, set())


def test_a_scalar_gradient_is_all_elementwise():
    def loss(x):
        return jnp.sum((x - jnp.array([1.0, 2.0])) ** 2)

    text = str(jax.make_jaxpr(lambda x: entrywise(jax.grad(loss), x))(jnp.zeros(2)))
    assert not any(name in text for name in ("pad", "concatenate", "reduce_sum", "dot_general"))


def test_what_no_output_needs_is_left_out():
    program, _ = traced(lambda x: (jnp.exp(x), x + 1)[1], jnp.zeros(()))
    assert [operation.primitive.name for operation in program.operations] == ["add"]


def test_levels_are_those_of_the_inputs():
    program, _ = traced(lambda a, b, c: (a * 2 + b) * c, *jnp.zeros(3))
    levels = program.level([0, 1, 2])
    names = [[o.primitive.name for o in operations] for operations in levels.operations]
    assert names == [["mul"], ["add"], ["mul"]]
    assert len(levels.needed_above(1, program.outputs)) == 1
    assert needed(levels.operations[1], program.outputs) == ()


@pytest.mark.parametrize(
    "function",
    [lambda x, w: x @ w, lambda x, w: x.T @ w, lambda x, w: w.T @ x, lambda x, w: w @ x.T],
    ids=["x w", "x' w", "w' x", "w x'"],
)
def test_turning_what_lanes_share_changes_no_product(function):
    x, w = X[:, :2], jnp.array([[0.5, 2.0], [-1.0, 3.0]])
    program, _ = traced(function, x, w)
    turned = straight(program, program.level([0, 1]).at(0))
    products = [o for o in turned.operations if o.primitive.name == "dot_general"]
    for product in products:
        side = [program.inputs[1].number == a.number for a in product.inputs].index(False)
        assert product.params["dimension_numbers"][0][side] == (1,)
    given = {v.number: a for v, a in zip(turned.inputs, (x, w))}
    found = evaluate(turned.operations, given, False)
    np.testing.assert_allclose(read(turned.outputs[0], found), function(x, w), rtol=1e-6)


MATRIX = jnp.array([[0.9, -0.2, 0.1], [0.3, 0.5, -0.4], [0.0, 0.2, 0.7]])


def turned(loop, wide):
    """Return what a loop makes of a vector and a count, with a matrix that is closed over."""
    widths = jnp.ones((wide, 3))

    def run(matrix, v):
        def turn(carry):
            v, (steps, way) = carry
            moved = matrix @ v + (widths @ v).sum() / 1e3
            return moved, (steps + 1, way + jnp.linalg.norm(moved - v))

        return loop(turn, (v, (jnp.int32(0), jnp.zeros(()))))

    return run


def until_short(loop):
    return lambda turn, begin: loop(
        lambda carry: (jnp.max(jnp.abs(carry[0])) > 0.1) & (carry[1][0] < 50), turn, begin
    )


def of_seven_turns(loop):
    def run(turn, begin):
        def step(carry, x):
            after = turn(carry)
            return after, {"norms": x * jnp.linalg.norm(after[0]), "point": after[0]}

        return loop(step, begin, jnp.arange(7, dtype=jnp.float32))

    return run


@pytest.mark.parametrize("wide", [1, 50])  # small enough for entries, and not
@pytest.mark.parametrize("lanes", [None, 5])
@pytest.mark.parametrize(
    ("of", "own", "plain"),
    [(until_short, while_loop, lax.while_loop), (of_seven_turns, scan, lax.scan)],
)
def test_loops_do_what_those_of_jax_do(of, own, plain, lanes, wide):
    def call(loop):
        run = turned(of(loop), wide)
        if lanes is None:
            return run(MATRIX, V)
        scales = 1 + jnp.arange(lanes) / lanes
        return jax.vmap(lambda scale: run(MATRIX / scale, V * scale))(scales)

    expected, found = call(plain), call(own)
    assert jax.tree.structure(expected) == jax.tree.structure(found)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=2e-6)


def test_turns_of_small_loops_touch_no_array_with_axes():
    def run(v):
        return while_loop(
            lambda c: c[0] > 0, lambda c: (c[0] - 1, MATRIX @ c[1]), (jnp.int32(3), v)
        )

    (loop,) = [e for e in jax.make_jaxpr(run)(V).eqns if e.primitive.name == "while"]
    assert all(v.aval.shape == () for e in loop.params["body_jaxpr"].jaxpr.eqns for v in e.outvars)
