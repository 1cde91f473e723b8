"""Types are part of the API: mypy must see what the docs promise, and refuse what they refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def mypy(file: str) -> tuple[int, str]:
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(HERE / file)],
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout


def test_right_calls_have_the_promised_types() -> None:
    assert mypy("right_calls.py") == (0, "")


def test_wrong_calls_are_found_before_they_run() -> None:
    status, output = mypy("wrong_calls.py")

    expected = {
        number
        for number, line in enumerate((HERE / "wrong_calls.py").read_text().splitlines(), 1)
        if line.endswith("# wrong")
    }
    found = {int(line.split(":")[1]) for line in output.splitlines() if ": error:" in line}
    assert status == 1
    assert found == expected, output
