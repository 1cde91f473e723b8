"""A process that forks: parent and child each enqueue tasks of their own, none is lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import redis

from castwork.model.queue import Queue
from castwork.store.keys import QueueKeys

SYNC = """
def enqueue(numbers):
    return [work.enqueue_sync(number).id for number in numbers]
"""

ON_A_LOOP = """
def enqueue(numbers):
    async def all():
        return [(await work.enqueue(number)).id for number in numbers]
    return asyncio.run(all())
"""

PROGRAM = """
import asyncio, json, os, sys, warnings
from castwork import App, AppSettings

app = App(sys.argv[1], settings=AppSettings(namespace=sys.argv[2]))

@app.task(queue="q")
async def work(number: int) -> None: ...

{enqueue}

before = enqueue(range(3))
read_end, write_end = os.pipe()
warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads
if os.fork() == 0:
    os.write(write_end, json.dumps(enqueue(range(3, 6))).encode())
    os._exit(0)
os.wait()
print(json.dumps([*before, *json.loads(os.read(read_end, 10_000)), *enqueue(range(6, 9))]))
os._exit(0)
"""


@pytest.mark.parametrize("enqueue", [SYNC, ON_A_LOOP], ids=["sync", "loop"])
def test_parent_and_child_enqueue_side_by_side(
    server_url: str, namespace: str, plain: redis.Redis, enqueue: str
) -> None:
    program = PROGRAM.replace("{enqueue}", enqueue)
    done = subprocess.run(
        [sys.executable, "-c", program, server_url, namespace],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr

    output = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "[]"
    ids = json.loads(output)
    keys = QueueKeys.of(namespace, Queue("q"))
    calls = [fields[b"call"].rpartition(b" ")[2] for _, fields in plain.xrange(keys.lanes[1])]
    assert calls == [b'{"number":%d}' % number for number in range(9)]
    assert len(set(ids)) == 9
