"""Functions that run in child processes: they may die, and can be stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.eventually import eventually
from tests.worker import process_app as program

from castwork import App, TaskCancelled, TaskDead, TaskFailed, TaskState
from castwork.model.errors import DefinitionError
from castwork.testing import run_task

pytestmark = pytest.mark.xdist_group("processes")

Run = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def run(own_url: str) -> Run:
    """Runs a worker of the program, with one child process."""

    @asynccontextmanager
    async def run(**options: Any) -> AsyncIterator[None]:
        options = {"pool_size": 1, **options}
        with program.app.server_url.overridden(own_url):
            async with program.app, program.app.worker(**options):
                yield

    return run


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_call_runs_in_another_process_which_runs_the_next_one_too(run: Run) -> None:
    async with run():
        [first, pid], [second, again] = [
            await (await program.square.enqueue(number)).result(timeout=20) for number in (3, 4)
        ]
    assert (first, second) == (9, 16)
    assert pid == again != os.getpid()
    assert not is_alive(pid)


async def test_a_process_is_replaced_after_so_many_tasks(run: Run) -> None:
    async with run(pool_max_tasks=2):
        tasks = [await program.square.enqueue(number) for number in range(4)]
        pids = [(await task.result(timeout=20))[1] for task in tasks]
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_a_process_with_too_much_memory_is_replaced(run: Run) -> None:
    async with run(pool_max_memory=1):
        pids = [(await (await program.square.enqueue(1)).result(timeout=20))[1] for _ in range(2)]
    assert pids[0] != pids[1]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("value", ("ValueError", "no such page")),
        ("own", ("OwnError", "5: x")),
        ("exit", ("SystemExit", "3")),
        ("stop", ("RuntimeError", "StopIteration")),
        ("nan", ("NoJsonForm", "")),
    ],
)
async def test_what_the_code_raises_comes_with_its_traceback(
    run: Run, how: str, told: tuple[str, str]
) -> None:
    async with run():
        task = await program.fail.enqueue(how)
        with pytest.raises(TaskDead):
            await task.result(timeout=20)
        error = (await task.status()).error
    assert error is not None
    assert error.type == told[0]
    assert told[1] in error.message
    assert how == "nan" or "process_app.py" in error.traceback


async def test_discard_comes_through(run: Run) -> None:
    async with run():
        task = await program.fail.enqueue("discard")
        with pytest.raises(TaskFailed, match="no such user"):
            await task.result(timeout=20)


@pytest.mark.parametrize("when", ["killed", "exited"])
async def test_a_process_that_dies_fails_its_task_only(run: Run, tmp_path: Path, when: str) -> None:
    async with run():
        neighbour = await program.beside.enqueue()
        task = await program.die.enqueue(str(tmp_path / "runs"), when)
        assert await task.result(timeout=20) == 2
        assert await neighbour.result(timeout=20) == "beside"
    assert (tmp_path / "runs").read_text() == "xx"


async def test_a_death_in_the_last_attempt_is_told(run: Run, tmp_path: Path) -> None:
    async with run():
        task = await program.die.options(attempts=1).enqueue(str(tmp_path / "runs"), "killed")
        with pytest.raises(TaskDead, match="SIGKILL"):
            await task.result(timeout=20)


async def test_a_death_is_noticed_where_a_forked_process_lives_on(run: Run, tmp_path: Path) -> None:
    async with run():
        task = await program.fork.enqueue(str(tmp_path / "pid"))
        with pytest.raises(TaskDead, match="SIGKILL"):
            await task.result(timeout=20)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def test_a_timeout_stops_the_code(run: Run, tmp_path: Path) -> None:
    async with run():
        task = await program.too_long.enqueue(str(tmp_path / "end"))
        with pytest.raises(TaskDead, match="timeout"):
            await task.result(timeout=20)
        assert (tmp_path / "end").read_text() == "cleaned up"


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_cancel_stops_the_code_even_if_it_is_deaf(
    run: Run, tmp_path: Path, deaf: bool
) -> None:
    where = tmp_path / "pid"
    async with run():
        task = await program.hang.enqueue(str(where), deaf)
        pid = int(await eventually(lambda: where.exists() and where.read_text()))
        assert await task.cancel("the stop button", timeout=20)
        with pytest.raises(TaskCancelled, match="stop button"):
            await task.result(timeout=20)
        if deaf:
            await eventually(lambda: not is_alive(pid))
        assert (await (await program.square.enqueue(2)).result(timeout=20))[0] == 4


async def test_current_works_and_its_chunks_arrive(run: Run) -> None:
    async with run():
        task = await program.told.options(owner="ada", labels={"chat": "c1"}).enqueue("a.pdf")
        result = await task.result(timeout=20)
        chunks = [chunk async for chunk in task.chunks()]
    assert result == {
        "attempt": 1,
        "left": 2,
        "owner": "ada",
        "queue": "default",
        "labels": {"chat": "c1"},
        "bounded": True,
    }
    assert [(chunk.kind, chunk.data) for chunk in chunks[:2]] == [
        ("source", {"text": "a.pdf"}),
        ("progress", {"done": 0.5, "message": "half"}),
    ]


async def test_what_is_saved_is_there_in_the_next_attempt(run: Run) -> None:
    async with run():
        assert await (await program.saving.enqueue()).result(timeout=20) == 2


async def test_a_call_that_waits_for_another_lends_its_place(run: Run) -> None:
    async with run(concurrency=1):
        assert await (await program.parent.enqueue(3)).result(timeout=20) == 10


async def test_more_calls_than_processes_wait_and_their_timeouts_do_not_run(run: Run) -> None:
    async with run():
        tasks = [await program.square.options(timeout=30).enqueue(number) for number in range(5)]
        results = [await task.result(timeout=20) for task in tasks]
    assert [result[0] for result in results] == [0, 1, 4, 9, 16]
    assert len({result[1] for result in results}) == 1


async def test_resources_are_made_when_asked_for_and_closed_at_the_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    monkeypatch.setenv("CASTWORK_TEST_CLOSED", str(closed))
    async with run():
        task = await program.with_resource.enqueue()
        assert await task.result(timeout=20) == "model on pool of this process"
        monkeypatch.delenv("CASTWORK_TEST_CLOSED")
    assert closed.read_text() == "closed"


async def test_plain_wrappers_are_called_in_the_process(run: Run) -> None:
    async with run():
        task = await program.wrapped.enqueue("outside", str(os.getpid()))
        assert await task.result(timeout=20) == "outside inside in True"


async def test_logs_come_out_of_the_worker(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async with run():
        await (await program.logs.enqueue("a page")).result(timeout=20)
        await eventually(lambda: [r for r in caplog.records if r.getMessage() == "found a page"])


async def test_logs_whose_extras_cannot_travel_come_without_them(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async with run():
        await (await program.logs_extras.enqueue("a page")).result(timeout=20)
        await eventually(lambda: [r for r in caplog.records if "made again" in r.getMessage()])
        await eventually(lambda: [r for r in caplog.records if "not pickled" in r.getMessage()])


@pytest.mark.parametrize(
    ("how", "told"),
    [("closed", "ProcessDied"), ("written", "ProcessDied"), ("unnamed", "(no text")],
)
async def test_a_call_that_spoils_its_process_ends_and_others_go_on(
    run: Run, how: str, told: str
) -> None:
    async with run():
        task = await program.spoil.enqueue(how)
        end = await task.wait(timeout=10)
        assert end.status is TaskState.DEAD
        assert end.error is not None
        assert end.error.type.startswith(told)
        assert await (await program.square.enqueue(3)).result(timeout=20)


async def test_a_coroutine_is_refused(run: Run) -> None:
    async with run():
        with pytest.raises(TaskDead, match="returned a coroutine"):
            await (await program.coroutine.enqueue()).result(timeout=20)


async def test_processes_end_when_their_worker_is_killed(run: Run, tmp_path: Path) -> None:
    where = tmp_path / "pid"
    async with run(grace=0.1):
        await program.hang.enqueue(str(where), True)
        pid = int(await eventually(lambda: where.exists() and where.read_text()))
        os.kill(pid, signal.SIGSTOP)  # deaf to all but SIGKILL
    assert not is_alive(pid)


async def test_a_function_that_cannot_be_found_again_is_told(app: App) -> None:
    @app.task(run_in="process", attempts=1)
    def inner() -> None: ...

    async with app.worker(pool_size=1):
        with pytest.raises(TaskDead, match="declare it while the module is imported"):
            await (await inner.enqueue()).result(timeout=20)


def test_a_place_in_which_a_function_cannot_run_is_refused(app: App) -> None:
    async def on_loop() -> None: ...

    def plain() -> None: ...

    with pytest.raises(DefinitionError, match="is async, so that it runs in 'loop'"):
        app.task(run_in="process")(on_loop)
    with pytest.raises(DefinitionError, match="is plain, so that it runs in 'thread' or 'process'"):
        app.task(run_in="loop")(plain)
    with pytest.raises(DefinitionError, match="run_in"):
        app.task(run_in="proces")(plain)  # type: ignore[call-overload]


async def test_one_call_in_a_test_runs_here() -> None:
    outcome = await run_task(program.square, 3)
    assert outcome.status is TaskState.SUCCEEDED
    assert outcome.result == [9, os.getpid()]
    assert asyncio.get_running_loop()


_PROGRAM = """
import asyncio, sys
from castwork import App
app = App(sys.argv[1], namespace=sys.argv[2])

@app.task(run_in="process")
def double(number: int) -> int:
    return number * 2

async def main():
    async with app, app.worker(pool_size=1):
        print(await (await double.enqueue(4)).result(timeout=20))

GUARD
    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("guard", "told"), [('if __name__ == "__main__":', "8"), ("if True:", "under `if __name__")]
)
async def test_a_program_is_loaded_again_without_its_guarded_part(
    server_url: str, namespace: str, tmp_path: Path, guard: str, told: str
) -> None:
    path = tmp_path / "program.py"
    path.write_text(_PROGRAM.replace("GUARD", guard))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(path), server_url, namespace),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert told in output.decode()
