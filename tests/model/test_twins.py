"""A program that is loaded twice says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

JOBS = """
from program import app
@app.task
async def work() -> str:
    return "worked"
"""

PROGRAM = """
import asyncio, logging
from castwork import App
logging.basicConfig()
app = App({url!r})
@app.task
async def own() -> None: ...
async def main():
    {imports}
    async with app, app.worker():
        {uses}
if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("imports", "uses", "warns"),
    [
        ("import jobs", "print(await (await jobs.work.enqueue()).result(timeout=20))", True),
        ("pass", "print('worked')", False),
    ],
)
def test_tasks_of_a_main_file_that_was_imported_too_run_and_are_warned_of(
    server_url: str, tmp_path: Path, imports: str, uses: str, warns: bool
) -> None:
    file = tmp_path / "program.py"
    (tmp_path / "jobs.py").write_text(JOBS)
    file.write_text(PROGRAM.format(url=server_url, imports=imports, uses=uses))
    ran = subprocess.run(
        [sys.executable, str(file)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "worked\n"
    assert ran.stderr.count("is loaded twice, as `__main__` and as `program`") == warns
