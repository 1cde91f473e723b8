"""Numbered calls: a slot and a number by which a repeated call is told from a new one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

from castwork.store.numbered import NumberedCalls

#: A process that forks between two calls, and prints what parent and child were given.
FORKS = """
import asyncio, json, os
from castwork.store.numbered import NumberedCalls

calls, loop = NumberedCalls(), asyncio.new_event_loop()

def call():
    async def one():
        async with calls.next() as given:
            return given
    return loop.run_until_complete(one())

before = call()
read_end, write_end = os.pipe()
if os.fork() == 0:
    os.write(write_end, json.dumps(call()).encode())
    os._exit(0)
os.wait()
print(json.dumps([before, json.loads(os.read(read_end, 200)), call()]))
loop.close()
"""


def test_a_forked_child_does_not_use_its_parents_numbers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, check=True, timeout=30
    )

    before, childs, after = json.loads(done.stdout)
    sender = before[0].partition(":")[0]
    assert childs[0].partition(":")[0] != sender
    assert (after[0].partition(":")[0], after[1]) == (sender, before[1] + 1)


def test_another_event_loop_begins_anew() -> None:
    calls = NumberedCalls()

    async def one() -> tuple[str, int]:
        async with calls.next() as given:
            return given

    first, second = asyncio.run(one()), asyncio.run(one())
    assert first[0].partition(":")[0] != second[0].partition(":")[0]


async def test_a_slot_is_used_again_only_when_its_call_is_answered_or_given_up() -> None:
    calls = NumberedCalls()
    given: list[tuple[str, int]] = []
    go = asyncio.Event()

    async def call() -> None:
        async with calls.next() as one:
            given.append(one)
            await go.wait()

    async def settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(call()) for _ in range(66)]
    await settle()
    assert len({slot for slot, _ in given}) == len(given) == 64

    tasks[64].cancel()  # its turn has not come: the next one is not forgotten over it
    tasks[0].cancel()  # it is under way and given up: its slot is free
    await settle()
    assert given[64:] == [(given[0][0], 65)]

    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [number for _, number in given] == list(range(1, 66))


async def test_a_turn_that_is_given_up_as_it_comes_goes_to_the_next_one() -> None:
    calls = NumberedCalls()
    go, held = asyncio.Event(), asyncio.Queue[str]()

    async def call() -> None:
        async with calls.next() as (slot, _):
            held.put_nowait(slot)
            await go.wait()

    async def first() -> None:
        async with calls.next():
            await leave.wait()
        tasks[63].cancel()  # the turn is its, and it has not taken it yet

    leave = asyncio.Event()
    leader = asyncio.create_task(first())
    tasks = [asyncio.create_task(call()) for _ in range(65)]
    for _ in range(63):
        await held.get()
    leave.set()

    await asyncio.wait_for(held.get(), 5)
    assert tasks[63].cancelled()
    go.set()
    await asyncio.gather(leader, *tasks, return_exceptions=True)
