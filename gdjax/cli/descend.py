"""`gdjax descend`: one descent and the picture of its way."""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import landscapes, plot, record
from gdjax.cli.optimizers import optimizer_named
from gdjax.cli.picture import write_picture
from gdjax.cli.table import point, table
from gdjax.descent import Descent, Result, Status, run

LEARNING_RATE = 0.01


def descend(options: argparse.Namespace) -> None:
    """Run the descent, print its end and write the picture."""
    loss = _loss(options.loss)
    start = jnp.array(options.start if len(options.start) > 1 else options.start[0], float)
    rate = options.learning_rate
    if rate is None:
        rate = getattr(loss, "learning_rate", LEARNING_RATE)
    optimizer = optimizer_named(options.optimizer)(rate)
    way = record.every(1, _params_and_loss)
    d = Descent(loss, start, optimizer, max_steps=options.steps, record=way)
    result = run(d)
    picture = options.out or f"descent-{options.loss.replace(':', '-')}.png"
    _draw(loss, result, f"{options.loss}, {options.optimizer}, learning rate {rate:g}", picture)
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
        print(json.dumps(settings | found | {"picture": picture}, indent=2))
        return
    print(f"{options.loss} from {point(options.start)}: {options.optimizer}({rate:g})\n")
    rows = [[name, point(end) if name == "params" else _cell(found[name])] for name in found]
    print(table(["", "end"], rows))
    print(f"\npicture: {picture}")


def _params_and_loss(state: Any) -> dict[str, jax.Array]:
    return {"params": state.params, "loss": state.loss}


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _loss(name: str) -> Callable[..., Any]:
    """Return the landscape of this name, or the function `package.module:loss`.

    Raises:
      ValueError: there is no such landscape, or the module has no such function.
      ImportError: the module cannot be imported.
    """
    if ":" not in name:
        return landscapes.get(name)
    module_name, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())  # as `python -m` does, so that a module beside is found
    module = importlib.import_module(module_name)
    if not hasattr(module, attribute):
        raise ValueError(f"{module_name} has no {attribute!r}")
    return getattr(module, attribute)


def _draw(loss: Callable, result: Result, title: str, picture: str) -> None:
    series = result.record
    way = record.Series(series.steps, series.values["params"])
    if result.params.shape == (2,):
        axes = plot.surface(loss, _domain(loss, np.asarray(way.values)), [way])
    else:
        axes = plot.loss_curves(record.Series(series.steps, series.values["loss"]))
    write_picture(axes, title, picture)


def _domain(loss: Callable, way: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return a box around the way, and around the landscape's own domain if it has one."""
    low, high = way.min(axis=0), way.max(axis=0)
    margin = 0.25 * max(float((high - low).max()), 1e-6)
    low, high = low - margin, high + margin
    if isinstance(loss, landscapes.Landscape):
        own_low, own_high = np.array(loss.domain).T
        low, high = np.minimum(low, own_low), np.maximum(high, own_high)
    return tuple(zip(low.tolist(), high.tolist()))
