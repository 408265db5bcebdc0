"""Loops whose turns are computed entry by entry, where all that they compute is small."""

from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.lanewise.entries import are_small, whole
from gdjax.lanewise.evaluate import evaluate, read, split_leaf
from gdjax.lanewise.program import Atom, Known, Program, traced
from gdjax.trees import PyTree

MOST_NUMBERS = 2000  # in a turn, each of which takes time to compile


def while_loop(
    goes_on: Callable[[PyTree], jax.Array], turn: Callable[[PyTree], PyTree], begin: PyTree
) -> PyTree:
    """Return what `jax.lax.while_loop` does; over lanes it takes a small part of the time."""
    cond, body = _entrywise(goes_on, begin), _entrywise(turn, begin)
    if cond is None or body is None:
        return lax.while_loop(goes_on, turn, begin)
    leaves, structure = jax.tree.flatten(begin)
    end = lax.while_loop(lambda carry: cond(carry)[0], body, _split(leaves))
    return jax.tree.unflatten(structure, _whole(end))


def scan(
    turn: Callable[[PyTree, Any], tuple[PyTree, PyTree]], begin: PyTree, xs: jax.Array
) -> tuple[PyTree, PyTree]:
    """Return what `jax.lax.scan` does; over lanes it takes a small part of the time."""
    program = _entrywise(turn, begin, jax.typeof(xs[0]))
    if program is None:
        return lax.scan(turn, begin, xs)
    leaves, structure = jax.tree.flatten(begin)
    _, rows = jax.eval_shape(turn, begin, jax.typeof(xs[0]))
    count = len(leaves)

    def entrywise(carry: list, x: jax.Array) -> tuple[list, list]:
        found = program([*carry, x])
        return found[:count], _whole(found[count:])

    end, ys = lax.scan(entrywise, _split(leaves), xs)
    ends = jax.tree.unflatten(structure, _whole(end))
    return ends, jax.tree.unflatten(jax.tree.structure(rows), ys)


def _entrywise(function: Callable[..., PyTree], *args: PyTree) -> Callable[[list], list] | None:
    """Return a function of split leaves to split leaves, None where not all of it is small."""
    program, _ = traced(function, *args)
    avals = [v.aval for v in program.values if prod(v.aval.shape)]
    if not are_small(avals, MOST_NUMBERS):
        return None
    program = _with_split_constants(program)

    def run(leaves: list) -> list:
        given = {v.number: x for v, x in zip(program.inputs, leaves, strict=True)}
        found = evaluate(program.operations, given, entrywise=True)
        return _split([read(atom, found) for atom in program.outputs])

    return run


def _with_split_constants(program: Program) -> Program:
    """Return the program with what its function closes over split before the loop."""
    split: dict[int, Any] = {}

    def known(a: Atom) -> Atom:
        if not isinstance(a, Known) or not isinstance(a.value, jax.Array):
            return a
        if id(a.value) not in split:
            split[id(a.value)] = split_leaf(a.value, entrywise=True)
        return Known(split[id(a.value)], a.aval)

    return program.with_atoms(known)


def _split(leaves: list) -> list:
    return [split_leaf(leaf, entrywise=True) for leaf in leaves]


def _whole(leaves: list) -> list:
    return [jnp.asarray(whole(leaf)) for leaf in leaves]
