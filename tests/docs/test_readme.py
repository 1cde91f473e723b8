"""The README's program is the example, it runs, and it prints what the README says."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.pages import EXAMPLES, ROOT, blocks

README = ROOT / "README.md"


def test_program_is_the_example_and_short() -> None:
    [block] = blocks(README, "python")
    assert block.text == (EXAMPLES / "hello.py").read_text()
    assert block.text.count("\n") <= 26


def test_program_prints_what_the_readme_shows() -> None:
    [program] = blocks(README, "python")
    [shown] = blocks(README, "text")
    ran = subprocess.run(
        [sys.executable, "-c", program.text], capture_output=True, text=True, timeout=30
    )
    assert ran.stderr == ""
    assert ran.returncode == 0
    assert _trimmed(ran.stdout) == _trimmed(shown.text)


def test_first_screen_is_short() -> None:
    text = README.read_text()
    assert text[: text.index("\n## ")].rstrip().count("\n") < 47


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]
