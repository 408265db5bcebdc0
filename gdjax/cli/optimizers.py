"""Optimizers by their name in optax."""

import difflib
import inspect
from collections.abc import Callable

import optax


def optimizer_named(name: str) -> Callable[[float], optax.GradientTransformation]:
    """Return the optimizer, a function of the learning rate.

    Raises:
      ValueError: optax has none of this name that needs a learning rate at most; the nearest
        names are in the message.
    """
    names = [known for known in dir(optax) if _needs_learning_rate_at_most(known)]
    if name not in names:
        nearest = difflib.get_close_matches(name, names) or ["sgd", "adam", "lbfgs"]
        raise ValueError(
            f"--optimizer: {name!r} is no optimizer of optax that needs a learning rate at most; "
            f"perhaps {', '.join(nearest)}"
        )
    return getattr(optax, name)


def _needs_learning_rate_at_most(name: str) -> bool:
    function = getattr(optax, name)
    if not inspect.isfunction(function) or name.startswith("scale_by"):
        return False
    parameters = list(inspect.signature(function).parameters.values())
    return (
        bool(parameters)
        and parameters[0].name == "learning_rate"
        and all(p.default is not inspect.Parameter.empty for p in parameters[1:])
    )
