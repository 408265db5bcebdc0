"""Peers that may not be installed."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from experiments.benchmarks.harness import Missing


def imported(name: str) -> ModuleType | Missing:
    """Return a module, or why it cannot be had; one made for another jax lacks what it asks for."""
    try:
        return import_module(name)
    except (ImportError, AttributeError) as error:
        return Missing(name, f"{type(error).__name__}: {error}")


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution, or that it is not there."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
