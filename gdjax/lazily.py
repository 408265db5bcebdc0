"""Public names that are imported where they are first used: what few runs need takes its time."""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def lazily(
    package: str, rooms: Mapping[str, str], listed: Iterable[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    Args:
      package: its name.
      rooms: for each name that comes from a module within the package, which one.
      listed: its public names; those that are in no room are modules themselves.
    """
    module = import_module(package)

    def get(name: str) -> Any:
        if name in rooms:
            value = getattr(import_module(f"{package}.{rooms[name]}"), name)
            setattr(module, name, value)
            return value
        if name in listed:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*vars(module), *listed})
