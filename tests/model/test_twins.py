"""A program that is loaded twice says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, logging
from castwork import App
logging.basicConfig()
app = App({url!r})
async def main():
    {imports}
    async with app:
        pass
    async with app:
        pass
if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize(("imports", "warns"), [("import program", True), ("pass", False)])
def test_an_app_of_a_main_file_that_was_imported_too_is_warned_of(
    server_url: str, tmp_path: Path, imports: str, warns: bool
) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.format(url=server_url, imports=imports))
    ran = subprocess.run(
        [sys.executable, str(file)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("is loaded twice, as `__main__` and as `program`") == warns
