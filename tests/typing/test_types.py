"""Types are part of the API: checkers see what the docs promise, and refuse what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent

#: Finds the lines of a file in which a type checker sees an error, and what it says.
Checker = Callable[[str], tuple[set[int], str]]


def mypy(file: str) -> tuple[set[int], str]:
    output = _run("mypy", "--strict", "--no-error-summary", str(HERE / file))
    lines = [line for line in output.splitlines() if ": error:" in line]
    return {int(line.split(":")[1]) for line in lines}, output


def pyright(file: str) -> tuple[set[int], str]:
    """Its wheel has all that it needs but node; nothing is downloaded."""
    output = _run("pyright", "--outputjson", "--pythonpath", sys.executable, str(HERE / file))
    found = json.loads(output)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1 for one in found}, output


def _run(module: str, *arguments: str) -> str:
    environment = {**os.environ, "PYRIGHT_PYTHON_GLOBAL_NODE": "1"}
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=55,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return run.stdout


CHECKERS = [
    mypy,
    pytest.param(
        pyright,
        marks=pytest.mark.skipif(shutil.which("node") is None, reason="no node on PATH"),
    ),
]


@pytest.mark.parametrize("check", CHECKERS)
def test_right_calls_have_the_promised_types(check: Checker) -> None:
    found, output = check("right_calls.py")

    assert found == set(), output


@pytest.mark.parametrize("check", CHECKERS)
def test_wrong_calls_are_found_before_they_run(check: Checker) -> None:
    lines = (HERE / "wrong_calls.py").read_text().splitlines()
    expected = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    found, output = check("wrong_calls.py")

    assert len(expected) >= 20
    assert found == expected, output
