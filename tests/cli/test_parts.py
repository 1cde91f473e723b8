"""The parts of the command line that need no process of their own, or hardly one."""

from __future__ import annotations

import asyncio
import io
import socket
import sys
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console

from castwork.cli.commands.enqueue import read_arguments
from castwork.cli.commands.schedules import find_schedule
from castwork.cli.commands.top import _draw
from castwork.cli.failure import FAILED, Failure, one_line
from castwork.cli.loading import is_asgi
from castwork.cli.overview import Overview, ServerFacts, print_queues
from castwork.cli.supervise import child as child_module
from castwork.cli.supervise import supervisor as supervisor_module
from castwork.cli.supervise.banner import Banner
from castwork.cli.supervise.child import Child, how_it_ended
from castwork.cli.supervise.health import Health, tell_health
from castwork.cli.supervise.relay import relay_lines
from castwork.cli.supervise.restarts import SLOW, TOLERATED, WINDOW, Restarts
from castwork.cli.supervise.supervisor import Supervisor
from castwork.cli.supervise.watched import WatchedWorker
from castwork.model.errors import AmbiguousId, UnknownName
from castwork.model.signature import Signature
from castwork.model.worker_info import RunningTask, WorkerInfo
from castwork.store.look import ForeignConsumer, QueueInfo
from castwork.tasks.calls import check_arguments


def test_waits_grow_up_to_those_of_a_crash_loop() -> None:
    restarts = Restarts()
    waits = [restarts.died(float(n)) for n in range(TOLERATED)]
    assert waits == sorted(waits)
    assert waits[0] < 0.2
    assert waits[-1] < SLOW
    assert not restarts.is_crash_loop
    assert restarts.died(5.0) == SLOW
    assert restarts.is_crash_loop


def test_old_deaths_are_forgotten() -> None:
    restarts = Restarts()
    first = restarts.died(0.0)
    for n in range(20):
        restarts.died(1.0 + n / 10)
    assert restarts.died(5.0 + WINDOW) == first
    assert not restarts.is_crash_loop


def test_ends_are_told_apart() -> None:
    assert "SIGKILL" in how_it_ended(-9)
    assert "stuck" in how_it_ended(70)
    assert "exit code 3" in how_it_ended(3)


async def test_a_crash_loop_is_said_and_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is python itself with an unknown module, which ends at once."""
    monkeypatch.setattr(child_module, "relay_lines", _drop)
    said: list[str] = []
    gone: list[str] = []
    looping = asyncio.Event()

    def say(name: str, line: str) -> None:
        said.append(line)
        if "from now on" in line:
            looping.set()

    async def note(mark: str) -> None:
        gone.append(mark)

    def misused() -> None:
        raise AssertionError("a user's program may end with 2, too")

    child = Child(
        "worker-1",
        lambda mark: [
            "worker",
            "nosuch_module",
            "--mark",
            mark,
        ],  # without a lifeline, as if the module had called exit(2)
        environment={"PATH": "", "PYTHONPATH": ":".join(sys.path)},
        descriptors=(),
        say=say,
        misused=misused,
        gone=note,
    )
    keeping = asyncio.create_task(child.keep_running())
    async with asyncio.timeout(40):
        await looping.wait()
    assert len(said) == TOLERATED + 1
    assert f"every {SLOW:.0f} s from now on: it died {TOLERATED + 1} times" in said[-1]
    child.terminate()
    async with asyncio.timeout(10):
        await keeping
    assert child.pid == 0
    assert len(set(gone)) == TOLERATED + 1


async def test_a_process_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    twice = asyncio.Event()

    async def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    def say(_name: str, line: str) -> None:
        said.append(line)
        if len(said) == 2:
            twice.set()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    child = Child(
        "worker-1",
        lambda _: [],
        environment={},
        descriptors=(),
        say=say,
        misused=lambda: None,
        gone=_nothing,
    )
    keeping = asyncio.create_task(child.keep_running())
    async with asyncio.timeout(10):
        await twice.wait()
        child.terminate()
        await keeping
    assert "could not be started" in said[0]


async def _nothing(_mark: str) -> None: ...


async def test_a_child_that_is_looked_after_no_more_ends_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(supervisor_module, "on_stop_signals", lambda *_: None)
    made = Supervisor(grace=0.0, say=lambda _, line: said.append(line))

    class Unforeseen(Child):
        async def keep_running(self) -> None:
            raise LookupError("unforeseen")

    made.workers = [
        Unforeseen(
            "worker-1",
            lambda _: [],
            environment={},
            descriptors=(),
            say=lambda *_: None,
            misused=made.misused,
            gone=_nothing,
        )
    ]
    async with asyncio.timeout(10):
        assert await made.run() == FAILED
    assert said[0] == "cannot go on: LookupError: unforeseen"


async def test_a_port_for_probes_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        health = Health(port=port, host="127.0.0.1")
        with pytest.raises(OSError, match=str(port)):
            await tell_health(health, cast("WatchedWorker", None))


async def _drop(reader: asyncio.StreamReader, name: str, say: object) -> None:
    await reader.read()


async def test_output_is_passed_on_line_by_line() -> None:
    reader = asyncio.StreamReader()
    said: list[str] = []
    passing = asyncio.create_task(relay_lines(reader, "w", lambda _, line: said.append(line)))
    for part in (b"one\ntw", b"o\r\n\xff\n", b"x" * 200_000 + b"\nlast"):
        reader.feed_data(part)
    reader.feed_eof()
    await passing
    assert said[:3] == ["one", "two", "\ufffd"]
    assert said[-1] == "last"
    assert sum(line.count("x") for line in said) == 200_000


def test_a_schedule_whose_id_several_queues_have_is_named_with_its_queue() -> None:
    there: Any = [
        SimpleNamespace(id=name, queue=queue)
        for queue, name in (("a", "nightly"), ("b", "nightly"), ("b", "hourly"))
    ]
    assert find_schedule(there, "hourly") is there[2]
    assert find_schedule(there, "b:nightly") is there[1]
    with pytest.raises(AmbiguousId, match="say a:nightly or b:nightly"):
        find_schedule(there, "nightly")
    with pytest.raises(UnknownName, match="there are: nightly, nightly, hourly"):
        find_schedule(there, "c:nightly")


def test_an_error_that_quotes_a_log_is_one_line() -> None:
    assert one_line(Failure("it ended\nlog 1\nwhy\n")) == "it ended (why)"
    assert one_line(Failure("")) == "Failure"


def test_words_become_arguments_of_the_right_types() -> None:
    def task(text: str, count: int, exact: bool = False, tags: list[str] | None = None) -> None: ...

    words = ["text=5", "count=5", "exact=true", 'tags=["a", "b"]']
    signature = Signature(task)
    raw = check_arguments(signature, read_arguments(signature.parameters, words))
    assert raw == b'{"text":"5","count":5,"exact":true,"tags":["a","b"]}'


def test_what_is_an_asgi_app_is_told_apart() -> None:
    class Api:
        async def __call__(self, scope: object, receive: object, send: object) -> None: ...

    async def function(scope: object, receive: object, send: object) -> None: ...

    async def other(request: object) -> None: ...

    assert is_asgi(Api())
    assert is_asgi(function)
    assert not any(map(is_asgi, (Api, other, None, "api", print)))


def test_a_login_stays_out_of_the_start_up_message() -> None:
    rows, times = [("server", "here")], {"server": 0.1}
    lines = "\n".join(Banner("mine:app", "redis://:secret@h:1", rows, times).lines())
    assert "secret" not in lines
    assert "CASTWORK_APP=mine:app" in lines
    lines = "\n".join(Banner("mine:app", "redis://h:1", rows, times).lines())
    assert "CASTWORK_URL=redis://h:1" in lines


def test_top_leaves_out_what_a_lost_worker_ran() -> None:
    def worker(name: str, *, lost: bool) -> dict[str, Any]:
        running = [RunningTask(f"{name}-task", "f", 1, 0)]
        info = WorkerInfo(name, "h", 1, 0.0, ["q"], 1, 1, running, {})
        facts: dict[str, Any] = msgspec.to_builtins(info)
        return facts | {"lost": lost, "silent_for": 1.0}

    workers = [worker("here", lost=False), worker("gone", lost=True)]
    shown = io.StringIO()
    Console(file=shown, width=200).print(_draw(Overview(ServerFacts("s"), [], workers)))
    assert "here-task" in shown.getvalue()
    assert "gone-task" not in shown.getvalue()
    assert "lost" in shown.getvalue()


def test_other_programs_that_read_an_adopted_stream_are_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    waiting = {"high": 0, "normal": 0, "low": 0, "stream": 3}
    queue = QueueInfo("orders", waiting, 1, 0, 0, 4, group="billing")
    print_queues([queue])
    assert "other programs" not in capsys.readouterr().out

    queue.foreign = [ForeignConsumer("node-1", 1, 12.0)]
    print_queues([queue])
    shown = io.StringIO()
    Console(file=shown, width=200).print(_draw(Overview(ServerFacts("s"), [queue], [])))
    for text in (capsys.readouterr().out, shown.getvalue()):
        assert "orders (billing)" in text
        assert "node-1" in text
        assert "12 s" in text
