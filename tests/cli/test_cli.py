import importlib
import json
import re
import sys

import pytest

import gdjax
from gdjax.cli import main

basins_module = importlib.import_module("gdjax.cli.basins")  # the names are its functions'
descend_module = importlib.import_module("gdjax.cli.descend")

FEW = ["basins", "himmelblau", "--resolution", "40"]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_basins_prints_the_four_minima_with_their_shares(capsys):
    assert main(FEW) == 0
    printed = capsys.readouterr().out
    for minimum in ("(3, 2)", "(-2.805, 3.131)", "(-3.779, -3.283)", "(3.584, -1.848)"):
        (line,) = [line for line in printed.splitlines() if minimum in line]
        assert 23 < float(line.split("%")[0].split()[-1]) < 27
    assert "1,600 CONVERGED" in printed


def test_basins_writes_the_picture_and_says_where(capsys, tmp_path):
    main(FEW)
    assert "picture: basins-himmelblau.png" in capsys.readouterr().out
    assert (tmp_path / "basins-himmelblau.png").read_bytes().startswith(b"\x89PNG")


def test_picture_goes_where_it_is_told(tmp_path):
    main([*FEW, "--out", "map.svg"])
    assert "<svg" in (tmp_path / "map.svg").read_text()


def test_basins_prints_json(capsys):
    main([*FEW, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["starts"] == [40, 40]
    assert [row["label"] for row in found["minima"]] == [0, 1, 2, 3]
    assert sum(row["share"] for row in found["minima"]) == pytest.approx(1.0)
    assert found["ended"] == {"CONVERGED": 1600, "DIVERGED": 0, "STEP_LIMIT": 0}


@pytest.mark.long
def test_basins_prints_the_measures_with_their_verdicts(capsys):
    main(FEW)
    printed = capsys.readouterr().out
    assert "not above ln 2: no proof" in printed
    assert "not one boundary for all" in printed


@pytest.mark.long
def test_basins_json_has_the_measures(capsys):
    main(["basins", "himmelblau", "--resolution", "64", "--json"])
    found = json.loads(capsys.readouterr().out)["measures"]
    assert found["boundary_dimension"]["value"] + found["uncertainty_exponent"]["value"] == 2
    assert found["boundary_entropy"]["proves_fractal"] is False
    assert found["basin_entropy"]["low"] < found["basin_entropy"]["value"]
    assert found["wada"]["is_wada"] is False


@pytest.mark.long
def test_starts_on_a_line_of_symmetry_are_no_basin_that_borders_are_measured_of(capsys):
    main(["basins", "double_well", "--resolution", "33", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert len(found["minima"]) == 9
    assert found["measures"]["boundary_entropy"]["proves_fractal"] is False


@pytest.mark.long
def test_map_too_small_for_boxes_has_no_entropy(capsys):
    main(["basins", "himmelblau", "--resolution", "4", "--json"])
    assert "basin_entropy" not in json.loads(capsys.readouterr().out)["measures"]


@pytest.mark.long
def test_learning_rate_optimizer_and_steps_are_used(capsys):
    main([*FEW, "--json", "--optimizer", "adam", "--learning-rate", "0.05", "--steps", "2"])
    found = json.loads(capsys.readouterr().out)
    assert (found["optimizer"], found["learning_rate"]) == ("adam", 0.05)
    assert found["ended"]["STEP_LIMIT"] == 1600


def test_descend_prints_the_end_and_writes_the_picture(capsys, tmp_path):
    assert main(["descend", "himmelblau", "--start", "-1", "-1"]) == 0
    printed = capsys.readouterr().out
    assert "CONVERGED" in printed
    assert "(-3.779, -3.283)" in printed
    assert "picture: descent-himmelblau.png" in printed
    assert (tmp_path / "descent-himmelblau.png").exists()


def test_descend_takes_a_function_of_a_module_beside(capsys, tmp_path):
    (tmp_path / "beside.py").write_text("def loss(w):\n    return (w - 3.0) ** 2\n")
    assert main(["descend", "beside:loss", "--start", "0", "--learning-rate", "0.1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["params"] == [pytest.approx(3.0, abs=1e-3)]
    assert (tmp_path / "descent-beside-loss.png").exists()


def test_list_names_every_landscape(capsys):
    from gdjax import landscapes

    main(["list"])
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in landscapes.names())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["basins", "himelblau"], "himmelblau"),
        ([*FEW, "--optimizer", "adamm"], "adam"),
        ([*FEW, "--resolution", "0"], "n: expected a whole number of at least 1"),
        ([*FEW, "--steps", "-1"], "max_steps"),
        ([*FEW, "--learning-rate", "nan"], "--learning-rate: expected"),
        ([*FEW, "--learning-rate", "-0.1"], "--learning-rate: expected"),
        (["descend", "no_such_module:loss", "--start", "0"], "no_such_module"),
        (["descend", "math:no_such_loss", "--start", "0"], "no_such_loss"),
        (["descend", "himmelblau", "--start", "1"], "himmelblau"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def own_loss(folder, monkeypatch, body, name="own"):
    """Write a module with `loss(w)` into the folder, forgotten again after the test."""
    (folder / f"{name}.py").write_text(f"import jax.numpy as jnp\n\ndef loss(w):\n    {body}\n")
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return ["descend", f"{name}:loss"]


def test_json_has_null_where_a_number_is_not_finite(capsys, tmp_path, monkeypatch):
    command = own_loss(tmp_path, monkeypatch, "return w * jnp.nan")
    assert main([*command, "--start", "1", "--json"]) == 0
    found = strict_json(capsys.readouterr().out)
    assert (found["status"], found["steps"], found["loss"]) == ("DIVERGED", 0, None)
    assert found["params"] == [1.0]


@pytest.mark.long
def test_basins_json_has_null_where_a_number_is_not_finite(capsys):
    main([*FEW, "--json", "--learning-rate", "1e9"])
    found = strict_json(capsys.readouterr().out)
    assert found["measures"]["wada"]["value"] is None
    assert found["ended"]["DIVERGED"] == 1600


@pytest.mark.parametrize("numbers", [["-1e-3", "-2.5"], ["-2.5e+0", "-1"], ["-.5E1", "1"]])
def test_numbers_below_zero_may_be_written_with_an_exponent(numbers, capsys):
    few = ["--steps", "3", "--learning-rate", "-1e-3", "--json"]
    assert main(["descend", "himmelblau", "--start", *numbers, *few]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["start"] == [float(number) for number in numbers]
    assert found["learning_rate"] == -1e-3


@pytest.fixture
def no_run(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("it was computed")

    monkeypatch.setattr(descend_module, "run", refuse)
    monkeypatch.setattr(basins_module, "sweep", refuse)


@pytest.mark.parametrize("command", [FEW, ["descend", "himmelblau", "--start", "1", "1"]])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("no/such/map.png", "--out: there is no folder 'no/such'"),
        ("map.txt", "--out: expected one of .*got 'map.txt'"),
        ("map", "--out: expected one of .*got 'map'"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_at_once(
    command, file, message, capsys, no_run
):
    assert main([*command, "--out", file]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("number", ["nan", "-inf", "1e300"])
def test_a_start_that_is_not_finite_is_refused_at_once(number, capsys, no_run):
    assert main(["descend", "himmelblau", "--start", "1", number]) == 2
    assert "--start: expected finite numbers" in capsys.readouterr().err


@pytest.mark.parametrize("command", [FEW, ["descend", "himmelblau", "--start", "-1", "-1"]])
def test_the_result_is_printed_though_the_file_cannot_be_written(command, capsys, tmp_path):
    (tmp_path / "folder.png").mkdir()
    assert main([*command, "--out", "folder.png"]) == 2
    printed = capsys.readouterr()
    assert "(-3.779, -3.283)" in printed.out
    assert "picture" not in printed.out
    assert printed.err.startswith("gdjax: --out: ")


@pytest.mark.parametrize(
    ("loss", "rate"), [("himmelblau", "0.1"), ("quadratic", "3"), ("rosenbrock", "1e6")]
)
def test_a_descent_that_diverged_has_its_table_and_picture(loss, rate, capsys, tmp_path):
    way = ["--start", "-3", "5", "--learning-rate", rate, "--steps", "100"]
    assert main(["descend", loss, *way, "--out", "way.png"]) == 0
    printed = capsys.readouterr()
    assert "status" in printed.out
    assert printed.err == ""
    assert (tmp_path / "way.png").exists()


def test_without_a_surface_to_be_drawn_the_result_is_printed(capsys, tmp_path, monkeypatch):
    command = own_loss(tmp_path, monkeypatch, "return jnp.sum(w) * jnp.nan")
    assert main([*command, "--start", "1", "2", "--json"]) == 0
    printed = capsys.readouterr()
    found = strict_json(printed.out)
    assert (found["status"], found["picture"]) == ("DIVERGED", None)
    assert "no picture could be drawn: loss: expected a finite value" in printed.err
    assert main([*command, "--start", "1", "2"]) == 0
    printed = capsys.readouterr()
    assert "DIVERGED" in printed.out
    assert "picture" not in printed.out


@pytest.mark.parametrize(("steps", "rows"), [(0, 1), (7, 8), (10_001, 5002), (10**9, 10_001)])
def test_a_way_has_ten_thousand_rows_at_most(steps, rows, monkeypatch):
    seen = []

    def run(d):
        seen.append(gdjax.run(d))
        return seen[0]

    monkeypatch.setattr(descend_module, "run", run)
    main(["descend", "himmelblau", "--start", "-1", "-1", "--steps", str(steps)])
    assert seen[0].record.steps.shape == (rows,)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ValueError('my own')", ValueError),
        ("return w @ jnp.ones(7)", TypeError),
        ("import no_such_module", ImportError),
        ("return open('no_such_file')", OSError),
        ("from gdjax import landscapes; return landscapes.booth(w[:1])", ValueError),
    ],
)
def test_an_error_within_a_loss_keeps_its_place(body, error, tmp_path, monkeypatch):
    command = own_loss(tmp_path, monkeypatch, body)
    with pytest.raises(error) as caught:
        main([*command, "--start", "1", "2"])
    assert any(str(entry.path).endswith("own.py") for entry in caught.traceback)


def test_an_error_within_a_module_keeps_its_place(tmp_path):
    (tmp_path / "lacks.py").write_text("import no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as caught:
        main(["descend", "lacks:loss", "--start", "1"])
    assert any(str(entry.path).endswith("lacks.py") for entry in caught.traceback)


def test_what_gdjax_says_of_a_loss_is_one_line(capsys, tmp_path, monkeypatch):
    command = own_loss(tmp_path, monkeypatch, "return w")
    assert main([*command, "--start", "1", "2"]) == 2
    assert capsys.readouterr().err.startswith("gdjax: loss: ")


@pytest.mark.parametrize("name", ["bad:", ":f", ":", ".bad:f", "a..b:f"])
def test_half_a_function_name_is_refused_with_the_form_expected(name, capsys):
    assert main(["descend", name, "--start", "1"]) == 2
    assert "package.module:function" in capsys.readouterr().err
