from contextlib import contextmanager

import jax
import jax.monitoring
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

# What takes long to compile, and the README shows as well.
LONG_EXAMPLES = {
    f"gdjax.{name}"
    for name in (
        "basins.edge.edge",
        "basins.escape_radius.escape_radius",
        "basins.flow_labels.flow_labels",
        "basins.landscape_graph.landscape_graph",
        "basins.refinement.refine.refine",
        "basins.slices.slice_plane",
        "plot.disconnectivity.disconnectivity",
        "plot.fidelity.fidelity",
        "plot.refinement.refinement",
    )
}


@pytest.hookimpl(tryfirst=True)  # before those that are asked for are chosen
def pytest_collection_modifyitems(items):
    for item in items:
        if item.name in LONG_EXAMPLES:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session", autouse=True)
def programs_are_compiled_once(tmp_path_factory):
    """Tests of equal programs share them within a session, which is most of its time."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("programs")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def no_compilation():
    """A context in which nothing may be compiled."""

    @contextmanager
    def context():
        compiled = []

        def listen(event, duration, **details):
            if event == "/jax/core/compile/backend_compile_duration":
                compiled.append(details)

        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            yield
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)
        assert not compiled, f"compiled: {compiled}"

    return context
