"""`castwork up`: one command that runs everything, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.cli.processes import Up, castwork, is_alive
from tests.eventually import wait_until

from castwork.embedded import EmbeddedServer

StartUp = Callable[..., Up]


def get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return int(answer.status)


def post(url: str, body: object) -> dict[str, object]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def accepts(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def assert_all_gone(up: Up, within: float) -> None:
    wait_until(lambda: not up.alive(), f"no process is left of {up.family()}", within=within)


def new_workers(up: Up, old: list[int], count: int) -> list[int]:
    def look() -> list[int]:
        now = up.children("worker")
        return now if len(now) == count and set(now) != set(old) else []

    return wait_until(look, "the worker is started again")


@pytest.mark.xdist_group("up")
def test_everything_runs_and_the_start_up_says_where(backend: Up) -> None:
    assert get(f"{backend.url}/readyz") == 200
    workers = backend.children("worker")
    assert len(workers) == 2
    for pid in workers:
        assert f"pid {pid}" in backend.output
    assert f"curl {backend.url}/tasks/add" in backend.output
    assert "echo 'a {brace} of the shell'" in backend.output
    assert "ready after" in backend.output
    answer = post(f"{backend.url}/tasks/add?wait=10", {"a": 2, "b": 3})
    assert answer["result"] == 5


@pytest.mark.xdist_group("up")
def test_children_are_out_of_reach_of_ctrl_c(backend: Up) -> None:
    own = os.getsid(backend.process.pid)
    children = backend.children("worker") + backend.children("gateway")
    assert len(children) == 3
    assert own not in {os.getsid(pid) for pid in children}


def test_a_killed_worker_is_started_again_with_a_new_pid(start_up: StartUp) -> None:
    up = start_up("--workers", "1").wait_ready()
    before = up.children("worker")
    os.kill(before[0], signal.SIGKILL)
    after = new_workers(up, before, 1)
    up.wait_for(r"worker-1 +\| was ended by SIGKILL; it is started again")
    found = up.run("enqueue", "pid", "--wait", "--timeout", "20")
    assert found.stdout.strip() == str(after[0]), found.stderr


def test_a_request_waits_while_a_killed_gateway_is_replaced(start_up: StartUp) -> None:
    up = start_up("--workers", "0").wait_ready()
    url, before = up.url, up.children("gateway")
    os.kill(before[0], signal.SIGKILL)
    gateway = psutil.Process(up.process.pid)
    wait_until(lambda: before[0] not in [c.pid for c in gateway.children()], "it is reaped")
    assert get(f"{url}/readyz") == 200
    assert up.children("gateway") != before


def test_a_stuck_worker_is_named_and_replaced(start_up: StartUp) -> None:
    up = start_up("--workers", "1", "--lease", "0.6").wait_ready()
    before = up.children("worker")
    up.run("enqueue", "block", "seconds=60")
    up.wait_for(r"worker-1 +\| was stuck: .*exit code 70")
    new_workers(up, before, 1)


def test_tasks_of_a_worker_that_was_killed_come_back_before_their_lease_ends(
    start_up: StartUp,
) -> None:
    up = start_up("--workers", "1", "--lease", "600").wait_ready()
    task_id = up.run("enqueue", "nap", "seconds=5").stdout.strip()
    show = ("tasks", "show", task_id, "--json")
    wait_until(lambda: json.loads(up.run(*show).stdout)["status"] == "running", "it runs")
    os.kill(up.children("worker")[0], signal.SIGKILL)
    up.wait_for(r"it held 1 task, which comes back at once")
    wait_until(lambda: json.loads(up.run(*show).stdout).get("result") == "rested", "it ran again")


def test_sigterm_leaves_no_process(start_up: StartUp) -> None:
    up = start_up().wait_ready()
    assert len(up.family()) >= 5  # itself, gateway, two workers, server
    up.signal(signal.SIGTERM)
    assert up.wait() == 0
    assert_all_gone(up, within=5)
    assert "everything has ended" in up.output


def test_ctrl_c_lets_a_running_task_finish(start_up: StartUp, own_server: EmbeddedServer) -> None:
    up = start_up("--redis", own_server.url, "--workers", "1").wait_ready()
    task_id = up.run("enqueue", "nap", "seconds=1.5").stdout.strip()
    show = ("tasks", "show", task_id, "--json")
    wait_until(lambda: json.loads(up.run(*show).stdout)["status"] == "running", "it runs")
    up.signal(signal.SIGINT)
    assert up.wait() == 0
    assert json.loads(up.run(*show).stdout)["result"] == "rested"
    assert own_server.is_running
    assert_all_gone(up, within=5)


def test_an_open_stream_does_not_hold_up_the_stop(start_up: StartUp) -> None:
    up = start_up("--workers", "1").wait_ready()
    with urllib.request.urlopen(f"{up.url}/channels/news/events", timeout=20) as stream:
        up.signal(signal.SIGINT)
        assert up.wait() == 0
        stream.read()  # it has ended too
    assert "Traceback" not in up.output
    assert_all_gone(up, within=5)


def test_a_second_signal_ends_everything_at_once(start_up: StartUp) -> None:
    up = start_up("--workers", "1", "--grace", "300").wait_ready()
    task_id = up.run("enqueue", "nap", "seconds=300").stdout.strip()
    show = ("tasks", "show", task_id, "--json")
    wait_until(lambda: json.loads(up.run(*show).stdout)["status"] == "running", "it runs")
    up.signal(signal.SIGINT)
    up.wait_for(r"1 task gets 300 s to finish")
    wait_until(lambda: not accepts(up.url), "the gateway accepts nothing any more", within=5)
    assert up.children("worker")
    up.signal(signal.SIGINT)
    up.wait(within=10)
    assert_all_gone(up, within=5)


def test_no_process_outlives_a_supervisor_that_is_killed(start_up: StartUp) -> None:
    up = start_up().wait_ready()
    up.signal(signal.SIGKILL)
    up.wait()
    assert_all_gone(up, within=25)


def test_not_even_one_with_a_blocked_event_loop(start_up: StartUp) -> None:
    up = start_up("--workers", "1", "--grace", "0.5").wait_ready()
    up.run("enqueue", "hog", "seconds=600")
    worker = psutil.Process(up.children("worker")[0])
    up.wait_for(r"the event loop has been blocked for")
    up.signal(signal.SIGKILL)
    up.wait()
    wait_until(lambda: not is_alive(worker), "the blocked worker has ended", within=25)
    assert_all_gone(up, within=10)


def test_a_server_that_dies_is_replaced(start_up: StartUp) -> None:
    up = start_up("--workers", "1").wait_ready()
    server = int(up.wait_for(r"embedded, pid (\d+)").group(1))
    before = up.children("worker")
    os.kill(server, signal.SIGKILL)
    up.wait_for("the embedded server died; all starts again")
    new_workers(up, before, 1)
    assert post(f"{up.url}/tasks/add?wait=20", {"a": 2})["result"] == 3


def test_data_is_kept_over_a_restart(start_up: StartUp, tmp_path: Path) -> None:
    first = start_up("--workers", "0", "--data", str(tmp_path)).wait_ready()
    task_id = first.run("enqueue", "greet", "name=you").stdout.strip()
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    second = start_up("--workers", "1", "--data", str(tmp_path)).wait_ready()
    show = ("tasks", "show", task_id, "--json")
    wait_until(lambda: json.loads(second.run(*show).stdout)["status"] == "succeeded", "it is run")


def test_a_port_in_use_is_one_line_and_leaves_nothing(start_up: StartUp, taken_port: int) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    found = castwork("up", "sample_app", "--port", str(taken_port))
    assert found.returncode == 1
    assert found.stderr.splitlines() == [
        f"castwork: port {taken_port} on 127.0.0.1 is in use: stop what uses it, or choose"
        " another with --port"
    ]
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_what_cannot_work_is_not_tried_again(start_up: StartUp) -> None:
    up = start_up("--queues", "nosuch")
    assert up.wait() == 2
    assert "no task function uses queue 'nosuch'" in up.output
    assert_all_gone(up, within=5)


def test_data_is_for_the_embedded_server_only(tmp_path: Path) -> None:
    found = castwork(
        "up", "sample_app", "--port", "0", "--redis", "redis://x:pw@h:1", "--data", str(tmp_path)
    )
    assert found.returncode == 2
    assert found.stderr == (
        "castwork: --data is for the embedded server, but the server is redis://h:1\n"
    )


def test_an_outage_of_the_server_is_waited_for(start_up: StartUp, tmp_path: Path) -> None:
    with EmbeddedServer(port=0) as probe:
        url = probe.url
    server = EmbeddedServer(port=int(url.rpartition(":")[2]), data=tmp_path)
    with server:
        up = start_up("--redis", url, "--workers", "1").wait_ready()
        before = up.children("worker") + up.children("gateway")
        server.stop()
        up.wait_for(r"worker-1 +\| .*lost the connection")
        up.wait_for(r"gateway +\| .*lost the connection")
        server.start()
        found = up.run("enqueue", "add", "a=1", "--wait", "--timeout", "20")
        assert found.stdout.strip() == "2", found.stderr
        assert post(f"{up.url}/tasks/add?wait=20", {"a": 2})["result"] == 3
        assert up.children("worker") + up.children("gateway") == before
        up.signal(signal.SIGTERM)
        assert up.wait() == 0


def test_a_server_elsewhere_that_is_away_is_one_line() -> None:
    found = castwork("up", "sample_app", "--port", "0", "--redis", "redis://127.0.0.1:1")
    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1
    assert "127.0.0.1:1" in found.stderr
