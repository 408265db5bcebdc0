import json

import pytest

from gdjax.cli import main

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
        (["descend", "no_such_module:loss", "--start", "0"], "no_such_module"),
        (["descend", "math:no_such_loss", "--start", "0"], "no_such_loss"),
        (["descend", "himmelblau", "--start", "1"], "himmelblau"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
