"""Compiled functions whose large constants are arguments of the program, and not in it."""

from collections.abc import Callable
from threading import Lock
from typing import Any

import jax

from gdjax.lanewise import evaluate, read, traced, whole
from gdjax.sweeps.lane_program import signature
from gdjax.sweeps.traced_lane import MOST_COMPILED_IN


class ConstantsApart:
    """`jax.jit` of a function that may close over data, as a lane function does.

    XLA would compile them in: it folds what is computed of them, and keeps copies.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Take a function of pytrees of arrays."""
        self.function, self.plain = function, jax.jit(function)
        self.programs: dict[Any, Callable[..., Any]] = {}
        self.lock = Lock()

    def __call__(self, *args: Any) -> Any:
        """Return what the function returns; of several threads, one compiles it."""
        kinds = signature(args)
        if kinds not in self.programs:
            with self.lock:
                if kinds not in self.programs:
                    program = self._program(args)
                    found = program(*args)
                    self.programs[kinds] = program
                    return found
        return self.programs[kinds](*args)

    def is_compiled(self, *args: Any) -> bool:
        """Return whether it is compiled for arguments of these types."""
        return signature(args) in self.programs

    def _program(self, args: tuple) -> Callable[..., Any]:
        known = self.plain.trace(*args).jaxpr.consts
        if all(getattr(x, "nbytes", 0) <= MOST_COMPILED_IN for x in known):
            return self.plain
        whole_program, shapes = traced(self.function, *args)
        program, constants = whole_program.opened(MOST_COMPILED_IN)

        @jax.jit
        def compiled(constants: list[Any], args: tuple) -> Any:
            leaves = jax.tree.leaves((constants, args))
            given = {v.number: x for v, x in zip(program.inputs, leaves, strict=True)}
            found = evaluate(program.operations, given, entrywise=False)
            outputs = [whole(read(atom, found)) for atom in program.outputs]
            return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

        on_device = jax.device_put(constants)

        return lambda *args: compiled(on_device, args)
