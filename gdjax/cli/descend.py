"""`gdjax descend`: one descent and the picture of its way."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import landscapes, plot, record
from gdjax.cli.json_text import json_text
from gdjax.cli.optimizers import optimizer_named
from gdjax.cli.picture import checked_file, write_picture
from gdjax.cli.table import point, table
from gdjax.descent import Descent, Result, Status, run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEARNING_RATE = 0.01
MOST_ROWS = 10_000  # of the way that is recorded, about


def descend(options: argparse.Namespace) -> None:
    """Run the descent, print its end and write the picture."""
    loss = _loss(options.loss)
    picture = checked_file(options.out or f"descent-{options.loss.replace(':', '-')}.png")
    start = _start(options.start)
    rate = options.learning_rate
    if rate is None:
        rate = getattr(loss, "learning_rate", LEARNING_RATE)
    optimizer = optimizer_named(options.optimizer)(rate)
    way = record.every(max(1, -(-options.steps // MOST_ROWS)), _params_and_loss)
    d = Descent(loss, start, optimizer, max_steps=options.steps, record=way)
    result = run(d)
    title = f"{options.loss}, {options.optimizer}, learning rate {rate:g}"
    written = None
    try:
        written = write_picture(lambda: _drawn(loss, result), title, picture)
    finally:  # whatever becomes of the picture
        _print(options, rate, result, written)


def _start(numbers: list[float]) -> jax.Array:
    most = float(jnp.finfo(jax.dtypes.canonicalize_dtype(float)).max)
    if not all(abs(number) <= most for number in numbers):
        raise ValueError(f"--start: expected finite numbers of at most {most:g}, got {numbers}")
    return jnp.array(numbers if len(numbers) > 1 else numbers[0], float)


def _print(options: argparse.Namespace, rate: float, result: Result, picture: str | None) -> None:
    end = np.atleast_1d(result.params).tolist()
    found = {
        "status": Status(int(result.status)).name,
        "steps": int(result.steps),
        "loss": float(result.loss),
        "grad_norm": float(result.grad_norm),
        "params": end,
    }
    if options.json:
        settings = {
            "descent": options.loss,
            "start": options.start,
            "optimizer": options.optimizer,
            "learning_rate": rate,
        }
        print(json_text(settings | found | {"picture": picture}))
        return
    print(f"{options.loss} from {point(options.start)}: {options.optimizer}({rate:g})\n")
    rows = [[name, point(end) if name == "params" else _cell(found[name])] for name in found]
    print(table(["", "end"], rows))
    if picture is not None:
        print(f"\npicture: {picture}")


def _params_and_loss(state: Any) -> dict[str, jax.Array]:
    return {"params": state.params, "loss": state.loss}


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _loss(name: str) -> Callable[..., Any]:
    """Return the landscape of this name, or the function `package.module:loss`.

    Raises:
      ValueError: there is no such landscape, module or function in it.
    """
    if ":" not in name:
        return landscapes.get(name)
    module_name, _, attribute = name.partition(":")
    if not (all(module_name.split(".")) and attribute):
        raise ValueError(f"expected a landscape or package.module:function, got {name!r}")
    sys.path.insert(0, os.getcwd())  # as `python -m` does, so that a module beside is found
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks another
        raise ValueError(str(error)) from error
    if not hasattr(module, attribute):
        raise ValueError(f"{module_name} has no {attribute!r}")
    return getattr(module, attribute)


def _drawn(loss: Callable, result: Result) -> "Axes":
    series = result.record
    way = record.Series(series.steps, series.values["params"])
    if result.params.shape == (2,):
        return plot.surface(loss, _domain(loss, np.asarray(way.values, float)), [way])
    return plot.loss_curves(record.Series(series.steps, series.values["loss"]))


def _domain(loss: Callable, way: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return a box around the way, and around the landscape's own domain if it has one."""
    low, high = way.min(axis=0), way.max(axis=0)
    margin = 0.25 * max(float((high - low).max()), 1e-6)
    low, high = low - margin, high + margin
    if isinstance(loss, landscapes.Landscape):
        own_low, own_high = np.array(loss.domain).T
        low, high = np.minimum(low, own_low), np.maximum(high, own_high)
    return tuple(zip(low.tolist(), high.tolist()))
