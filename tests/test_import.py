import subprocess
import sys

import pytest

import gdjax


def test_every_public_name_is_there_and_listed():
    for name in gdjax.__all__:
        assert getattr(gdjax, name) is not None
    assert set(gdjax.__all__) <= set(dir(gdjax))


def test_functions_that_are_imported_later_are_those_of_their_rooms():
    from gdjax import basins, sweeps

    assert (gdjax.sweep, gdjax.map_basins) == (sweeps.sweep, basins.map_basins)


def test_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="'gdjax' has no attribute 'nothing'"):
        gdjax.nothing  # noqa: B018


LATER = ["advice", "basins", "curvature", "landscapes", "plot", "reduce", "schedules", "sweeps"]
LATER += ["transforms", "batches.hosted", "descent.cost", "descent.hosted", "noise", "stop.noisy"]


def test_rooms_that_a_run_does_not_need_are_not_imported_with_gdjax():
    code = "import sys, gdjax; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    modules = set(found.stdout.split())
    assert "gdjax.descent" in modules
    assert not modules & {f"gdjax.{room}" for room in LATER}
