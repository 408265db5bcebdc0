"""A traced function as a flat list of operations, to be cut by what they depend on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax

from gdjax.trees import PyTree

# Under these names JAX keeps the body of a call, which is the same without the call.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}


class Value(NamedTuple):
    """A value of a program that an operation, or the caller, gives."""

    number: int
    aval: Any


class Known(NamedTuple):
    """A value of a program that is known while tracing: a literal or a constant array."""

    value: Any
    aval: Any


Atom = Value | Known


class Operation(NamedTuple):
    """A primitive applied to atoms."""

    primitive: Any
    params: Mapping[str, Any]
    inputs: tuple[Atom, ...]
    outputs: tuple[Value, ...]


def needed(operations: Sequence[Operation], outputs: Sequence[Atom]) -> tuple[Operation, ...]:
    """Return those of the operations that the outputs need."""
    wanted = {atom.number for atom in outputs if isinstance(atom, Value)}
    kept = []
    for operation in reversed(operations):
        if any(out.number in wanted for out in operation.outputs):
            kept.append(operation)
            wanted |= {a.number for a in operation.inputs if isinstance(a, Value)}
    return tuple(reversed(kept))


@dataclass(frozen=True)
class Program:
    """Operations from inputs to outputs, in an order in which they can be run."""

    inputs: tuple[Value, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[Atom, ...]

    def without_dead_ends(self) -> "Program":
        """Return the program without the operations that no output needs."""
        return Program(self.inputs, needed(self.operations, self.outputs), self.outputs)

    @property
    def values(self) -> list[Value]:
        """The inputs, and the outputs of the operations."""
        return [*self.inputs, *(v for operation in self.operations for v in operation.outputs)]

    @property
    def constants(self) -> list[Any]:
        """The values that are known while tracing."""
        atoms = [atom for operation in self.operations for atom in operation.inputs]
        return [atom.value for atom in (*atoms, *self.outputs) if isinstance(atom, Known)]

    def opened(self, most_bytes: int) -> tuple["Program", list[Any]]:
        """Return the program with its larger constants as inputs, before the others, and these."""
        constants = {id(x): x for x in self.constants if getattr(x, "nbytes", 0) > most_bytes}
        above = max(v.number for v in self.values) + 1
        number = {name: above + i for i, name in enumerate(constants)}

        def opened(a: Atom) -> Atom:
            if isinstance(a, Known) and id(a.value) in number:
                return Value(number[id(a.value)], a.aval)
            return a

        inputs = (Value(number[name], jax.typeof(x)) for name, x in constants.items())
        program = self.with_atoms(opened)
        return replace(program, inputs=(*inputs, *self.inputs)), list(constants.values())

    def with_atoms(self, change: Callable[[Atom], Atom]) -> "Program":
        """Return the program with other atoms for what its operations take and what it returns."""
        operations = tuple(o._replace(inputs=tuple(map(change, o.inputs))) for o in self.operations)
        return Program(self.inputs, operations, tuple(map(change, self.outputs)))

    def level(self, inputs: Sequence[int]) -> "Levels":
        """Return the operations by level: that of an operation is the highest of its inputs."""
        found = {v.number: level for v, level in zip(self.inputs, inputs)}
        operations: list[list[Operation]] = [[] for _ in range(max(inputs) + 1)]
        for operation in self.operations:
            level = max(
                (found[a.number] for a in operation.inputs if isinstance(a, Value)), default=0
            )
            found |= dict.fromkeys((out.number for out in operation.outputs), level)
            operations[level].append(operation)
        return Levels(found, tuple(map(tuple, operations)))

    def cut(self, values: Sequence[Value]) -> "Program":
        """Return the program with these values as further inputs, instead of computed."""
        given = {v.number for v in values}
        kept = tuple(
            operation
            for operation in self.operations
            if not any(out.number in given for out in operation.outputs)
        )
        return Program((*self.inputs, *values), kept, self.outputs).without_dead_ends()


@dataclass(frozen=True)
class Levels:
    """The operations of a program by level, and the level of each value by its number."""

    of: Mapping[int, int]
    operations: tuple[tuple[Operation, ...], ...]

    def at(self, level: int) -> set[int]:
        """Return the numbers of the values of a level."""
        return {number for number, own in self.of.items() if own == level}

    def needed_above(self, level: int, outputs: Sequence[Atom]) -> list[Value]:
        """Return the values of a level that higher ones or the outputs need, each once."""
        used = [a for above in self.operations[level + 1 :] for o in above for a in o.inputs]
        values = (a for a in (*used, *outputs) if isinstance(a, Value))
        return list(dict.fromkeys(v for v in values if self.of[v.number] == level))


def traced(function: Callable[..., PyTree], *args: PyTree) -> tuple[Program, PyTree]:
    """Return the program of a function at arguments of these shapes.

    Args:
      function: function of pytrees of arrays.
      *args: pytrees of arrays or of `jax.ShapeDtypeStruct`.

    Returns:
      The program from the leaves of `args` to the leaves of the result, and the result's shapes
      and dtypes.
    """
    jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    flattened = _Flattening()
    inputs = tuple(flattened.new(v.aval) for v in jaxpr.jaxpr.invars)
    outputs = flattened.run(jaxpr, inputs)
    program = Program(inputs, tuple(flattened.operations), outputs).without_dead_ends()
    return program, shapes


@dataclass
class _Flattening:
    operations: list[Operation] = field(default_factory=list)
    count: int = 0

    def new(self, aval: Any) -> Value:
        self.count += 1
        return Value(self.count, aval)

    def run(self, closed: Any, args: Sequence[Atom]) -> tuple[Atom, ...]:
        """Append the operations of a jaxpr, closed or not, and return the atoms of its outputs."""
        jaxpr, consts = getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())
        found: dict[Any, Atom] = dict(zip(jaxpr.invars, args))
        found |= {v: Known(value, v.aval) for v, value in zip(jaxpr.constvars, consts)}

        def atom(v: Any) -> Atom:
            # Only literals have a value. Their class lives in jax.extend, which is slow to import.
            return Known(v.val, v.aval) if hasattr(v, "val") else found[v]

        for eqn in jaxpr.eqns:
            inputs = tuple(map(atom, eqn.invars))
            body = _body(eqn)
            if body is not None:
                found |= zip(eqn.outvars, self.run(body, inputs))
                continue
            outputs = tuple(self.new(v.aval) for v in eqn.outvars)
            self.operations.append(Operation(eqn.primitive, eqn.params, inputs, outputs))
            found |= zip(eqn.outvars, outputs)
        return tuple(map(atom, jaxpr.outvars))


def _body(eqn: Any) -> Any:
    """Return the body of a call, None for any other primitive."""
    name = CALLS.get(eqn.primitive.name)
    return None if name is None else eqn.params.get(name)
