"""The README's Python blocks run, one after the other, as a reader would type them."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def session():
    """Return the names that the blocks define, and how many blocks have run."""
    return {}, [0]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(number, session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, done = session
    while done[0] <= number:  # where another process ran those before, this one does too
        block, done[0] = done[0], done[0] + 1
        exec(compile(BLOCKS[block], f"README block {block + 1}", "exec"), names)


def test_there_are_blocks():
    assert len(BLOCKS) >= 5
