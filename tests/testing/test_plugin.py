"""The pytest plugin, as a user has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import pytest
from castwork import App
from castwork.testing import Run

app = App("redis://127.0.0.1:1")

@app.task
async def double(number: int) -> int:
    return 2 * number

@pytest.fixture
def castwork_app() -> App:
    return app

async def test_first(castwork: Run) -> None:
    assert await (await double.enqueue(2)).result(timeout=5) == 4

async def test_second_begins_empty(castwork: Run) -> None:
    assert castwork.tasks() == []
    await castwork.until_idle()
"""


def test_the_fixture_runs_the_app_of_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text(PROGRAM)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "castwork.testing.plugin", "test_user.py"],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
