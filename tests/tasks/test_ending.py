"""Enqueueing while the interpreter ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAD = """
import atexit
from castwork import App
from castwork.model.errors import NotOpen
app = App({url!r})
@app.task
async def job() -> int: return 1
def enqueue():
    try:
        print("enqueued", bool(job.enqueue_sync()))
    except NotOpen as error:
        print("NotOpen:", error)
"""


@pytest.mark.parametrize(
    "end",
    [
        "enqueue()\nclass K:\n    def __del__(self): enqueue()\nk = K()",
        "atexit.register(enqueue)",
    ],
    ids=["a finalizer", "a first call in atexit"],
)
def test_enqueueing_at_the_end_never_hangs(server_url: str, end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEAD.format(url=server_url) + end],
        capture_output=True,
        text=True,
        timeout=40,
    )

    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last == "enqueued True" or last.startswith("NotOpen:"), done.stderr
