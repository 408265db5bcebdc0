"""The network of workload F: 64-32-10 on scikit-learn's 1,797 digits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks.harness import Missing
from experiments.benchmarks.optional import imported

SIZES = (64, 32, 10)
BATCH = 64
Params = dict[str, Any]
Data = tuple[np.ndarray, np.ndarray]  # float32 [1797, 64] and int32 [1797]


def digits() -> Data | Missing:
    """Return the pixels, within [0, 1], and the digits."""
    datasets = imported("sklearn.datasets")
    if isinstance(datasets, Missing):
        return datasets
    bunch = datasets.load_digits()
    return (bunch.data / 16).astype(np.float32), bunch.target.astype(np.int32)


def batches(data: Data) -> list[Data]:
    """Return the mini-batches in their order; the rows that fill none are left out."""
    x, y = data
    return [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(x) - BATCH + 1, BATCH)]


def networks(seeds: int) -> Params:
    """Return the starts, leaves [seeds, ...]."""
    rng = np.random.default_rng(0)
    pixels, hidden, classes = SIZES
    params = {
        "w1": rng.normal(size=(seeds, pixels, hidden)) / pixels**0.5,
        "b1": np.zeros((seeds, hidden)),
        "w2": rng.normal(size=(seeds, hidden, classes)) / hidden**0.5,
        "b2": np.zeros((seeds, classes)),
    }
    return {name: leaf.astype(np.float32) for name, leaf in params.items()}


def loss(params: Params, batch: Any) -> jax.Array:
    x, y = batch
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    logits = hidden @ params["w2"] + params["b2"]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))


def accuracy(params: Params, data: Data) -> np.ndarray:
    """Return the share of all digits that each network [lanes, ...] knows."""
    x, y = data
    hidden = np.tanh(x @ params["w1"] + params["b1"][:, None])
    logits = hidden @ params["w2"] + params["b2"][:, None]
    return np.mean(logits.argmax(axis=-1) == y, axis=1)


def flat(params: Params) -> np.ndarray:
    """Return the parameters of networks [lanes, ...] as [lanes, parameters]."""
    return np.concatenate(
        [params[name].reshape(len(params[name]), -1) for name in sorted(params)], axis=1
    )
