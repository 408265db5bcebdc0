"""The README's Python blocks run, one after the other, as a reader would type them."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def namespace():
    return {}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(number, namespace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f"README block {number + 1}", "exec"), namespace)


def test_there_are_blocks():
    assert len(BLOCKS) >= 5
