"""How a command's process takes signals, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

HEAD = """
import asyncio, multiprocessing, os, signal, sys, threading, time
from castwork.cli.supervise.leaving import leave_within
from castwork.cli.supervise.signals import on_stop_signals
def say(word): print(word, flush=True)
"""


def run(program: str) -> tuple[int, list[str]]:
    """Run a program to its end; its exit code and the lines that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program], capture_output=True, text=True, timeout=30
    )
    return done.returncode, (done.stdout + done.stderr).split("\n")[:-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_second_signal_needs_no_turn_of_the_loop(number: signal.Signals) -> None:
    code, said = run(f"""
async def main():
    heard = asyncio.Event()
    on_stop_signals(lambda: (say("first"), heard.set()), lambda: os._exit(7))
    os.kill(os.getpid(), {number:d})
    await heard.wait()
    os.kill(os.getpid(), {number:d})
    while True: pass
asyncio.run(main())
""")
    assert (code, said) == (7, ["first"])


@pytest.mark.parametrize("forked_by", ["the main thread", "a thread"])
def test_a_forked_child_ends_on_a_signal_and_its_parent_does_not(forked_by: str) -> None:
    fork = "await asyncio.to_thread(fork)" if forked_by == "a thread" else "fork()"
    code, said = run(f"""
def fork():
    ready = multiprocessing.get_context("fork").Event()
    def sleep():
        ready.set()
        time.sleep(60)
    child = multiprocessing.get_context("fork").Process(target=sleep)
    child.start()
    ready.wait()
    child.terminate()
    child.join(20)
    say(child.exitcode)
async def main():
    heard = asyncio.Event()
    on_stop_signals(lambda: (say("stopped"), heard.set()), lambda: os._exit(7))
    {fork}
    os.kill(os.getpid(), signal.SIGTERM)  # the first that reaches it
    await heard.wait()
asyncio.run(main())
""")
    assert (code, [line for line in said if "Warning" not in line and "fork()" not in line]) == (
        0,
        [str(-signal.SIGTERM), "stopped"],
    )


def test_a_thread_that_goes_on_does_not_keep_the_process() -> None:
    code, said = run("""
threading.Thread(target=time.sleep, args=[60], name="hung").start()
try:
    raise ValueError
finally:
    leave_within(0.05)
""")
    assert code == 1
    assert any("hung" in line for line in said)


def test_a_process_that_is_done_ends_without_waiting() -> None:
    assert run("leave_within(60)") == (0, [])


def test_an_exit_in_a_task_of_the_loop_ends_nothing_else() -> None:
    code, said = run("""
from castwork.cli.supervise.loops import run_loop
async def main():
    async def leave(): sys.exit(2)
    beside = asyncio.create_task(asyncio.sleep(0.02, "beside"))
    try:
        await asyncio.gather(leave())
    except SystemExit as error:
        say(error.code)
    return await beside
say(run_loop(main()))
""")
    assert code == 0
    assert [line for line in said if "SystemExit" not in line] == ["2", "beside"]


def test_an_exit_of_the_program_itself_ends_it() -> None:
    code, _ = run("""
from castwork.cli.supervise.loops import run_loop
async def main(): sys.exit(5)
run_loop(main())
""")
    assert code == 5
