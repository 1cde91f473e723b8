"""The commands that look and operate, on a backend that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.cli.processes import HERE, Running, Up, castwork, environment
from tests.eventually import wait_until
from tests.servers import shared_server

from castwork.embedded import EmbeddedServer
from castwork.model.queue import Queue
from castwork.store.keys import QueueKeys

pytestmark = pytest.mark.xdist_group("up")  # one backend


def parsed(backend: Up, *arguments: str) -> Any:
    found = backend.run(*arguments, "--json")
    assert found.returncode == 0, found
    return json.loads(found.stdout)


def test_enqueue_prints_the_task_id(backend: Up) -> None:
    found = backend.run("enqueue", "add", "a=1")
    assert found.stdout.startswith("default-")
    assert parsed(backend, "enqueue", "add", "a=1")["queue"] == "default"


def test_enqueue_waits_for_the_result(backend: Up) -> None:
    assert backend.run("enqueue", "add", "a=40", "b=2", "--wait").stdout == "42\n"
    assert backend.run("enqueue", "add", '{"a": 4}', "--wait").stdout == "5\n"
    assert backend.run("enqueue", "greet", "name=4=2", "--wait").stdout == "hello 4=2\n"
    status = parsed(backend, "enqueue", "spell", "word=abc", "--wait")
    assert (status["status"], status["result"]) == ("succeeded", "abc")


def test_enqueue_with_a_key_makes_one_task(backend: Up) -> None:
    once = backend.run("enqueue", "add", "a=1", "--key", "order-7").stdout
    assert once
    assert backend.run("enqueue", "add", "a=1", "--key", "order-7").stdout == once


def test_enqueue_later_makes_a_scheduled_task(backend: Up) -> None:
    told = parsed(backend, "enqueue", "add", "a=1", "--delay", "60")
    assert told["status"] == "scheduled"
    assert parsed(backend, "tasks", "show", told["task_id"])["status"] == "scheduled"
    assert parsed(backend, "tasks", "cancel", told["task_id"])["status"] == "cancelled"


def test_enqueue_suggests_a_name_that_is_close(backend: Up) -> None:
    found = backend.run("enqueue", "gret", "name=x")
    assert found.returncode == 2
    assert "did you mean 'greet'?" in found.stderr


def test_enqueue_refuses_what_does_not_fit(backend: Up) -> None:
    for arguments, said in {
        ("add", "a=x"): "$.a",
        ("add", '{"a": "x"}'): "$.a",
        ("add", "nosuch=1"): "no parameter 'nosuch'; there are: a, b",
        ("add", "5"): "neither a JSON object nor name=value: '5'",
        ("add",): "add: Object missing required field `a`; parameters are: a, b",
        ("nosuch", "a=1"): "'nosuch'",
        ("add", "a=1", "--priority", "top"): "no priority 'top'",
    }.items():
        found = backend.run("enqueue", *arguments)
        assert found.returncode == 2, found
        assert said in found.stderr
        assert len(found.stderr.splitlines()) == 1


def test_enqueue_tells_a_failed_task_and_a_late_one(backend: Up, tmp_path: Path) -> None:
    found = backend.run("enqueue", "fail", f"path={tmp_path / 'never'}", "--wait")
    assert found.returncode == 1
    assert "RuntimeError: no such file yet" in found.stderr
    found = backend.run("enqueue", "nap", "seconds=2", "--wait", "--timeout", "0.1")
    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1


def test_status_and_queues(backend: Up) -> None:
    status = parsed(backend, "status")
    assert {queue["name"] for queue in status["queues"]} == {"default", "slow", "broken"}
    assert {worker["pid"] for worker in status["workers"]} == set(backend.children("worker"))
    assert status["server"]["version"]
    assert {queue["name"] for queue in parsed(backend, "queues")} == {"default", "slow", "broken"}
    text = backend.run("status").stdout
    for worker in status["workers"]:
        assert worker["id"] in text


def test_status_takes_the_app_as_an_argument_too(backend: Up) -> None:
    found = backend.run("status", "sample_app:app", "--json")
    assert json.loads(found.stdout)["workers"]


def test_a_queue_is_paused_purged_and_resumed(backend: Up) -> None:
    assert "castwork queue resume slow" in backend.run("queue", "pause", "slow").stdout
    checks = {check["name"]: check for check in parsed(backend, "doctor")}
    assert (checks["slow"]["level"], checks["default"]["level"]) == ("warn", "ok")
    assert "castwork queue resume slow" in checks["slow"]["mend"]
    assert "slow, paused" in backend.run("queues").stdout
    task_id = backend.run("enqueue", "nap", "seconds=0").stdout.strip()
    assert backend.run("queue", "purge", "slow").returncode == 2
    assert backend.run("queue", "purge", "slow", "--yes").stdout == "1 task cancelled\n"
    assert json.loads(backend.run("tasks", "show", task_id, "--json").stdout)["status"] == (
        "cancelled"
    )
    assert backend.run("queue", "resume", "slow").stdout == "slow goes on\n"
    backend.run("queue", "wait", "slow", "--timeout", "10")
    unknown = backend.run("queue", "pause", "nosuch")
    assert (unknown.returncode, "there are: " in unknown.stderr) == (2, True)


def test_schedules_are_listed_held_and_run(backend: Up) -> None:
    listed = backend.run("schedules", "list").stdout
    assert "nightly" in listed
    assert "0 3 * * * Europe/Berlin" in listed
    task_id = backend.run("schedules", "run", "nightly").stdout.strip()
    wait_until(
        lambda: (
            json.loads(backend.run("tasks", "show", task_id, "--json").stdout).get("result")
            == "slept"
        ),
        "it ran",
    )
    assert "paused" in backend.run("schedules", "pause", "nightly").stdout
    [plain] = json.loads(backend.run("schedules", "list", "--json").stdout)
    assert (plain["id"], plain["at"], plain["declared"]) == ("nightly", None, True)
    backend.run("schedules", "resume", "nightly")
    assert "in " in backend.run("schedules", "list").stdout
    assert "removed" in backend.run("schedules", "remove", "nightly").stdout
    missing = backend.run("schedules", "pause", "nosuch")
    assert "no schedule is named 'nosuch'" in missing.stderr


def test_top_prints_a_line_each_second(backend: Up, start: Callable[..., Running]) -> None:
    env = environment(CASTWORK_APP="sample_app", CASTWORK_URL=backend.server_url)
    top = start("top", "--json", env=env)
    wait_until(lambda: top.output.count("\n") >= 2, "two lines")
    top.signal(signal.SIGINT)
    assert top.wait() == 0
    assert all(json.loads(line)["queues"] for line in top.output.splitlines())


def test_top_draws_on_a_terminal_and_q_ends_it(backend: Up) -> None:
    assert backend.run("top").returncode == 2
    env = environment(CASTWORK_APP="sample_app", CASTWORK_URL=backend.server_url)
    screen, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "castwork", "top"],
        env=env | {"COLUMNS": "160", "LINES": "40", "TERM": "xterm"},
        cwd=HERE,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    try:
        wait_until(lambda: b"scheduled" in os.read(screen, 65_536), "it draws")
        os.write(screen, b"q")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def test_tasks_show_and_cancel(backend: Up) -> None:
    task_id = backend.run("enqueue", "nap", "seconds=300").stdout.strip()
    wait_until(lambda: parsed(backend, "tasks", "show", task_id)["status"] == "running", "it runs")
    text = backend.run("tasks", "show", task_id).stdout
    assert "running" in text
    assert "nap" in text
    assert '{"seconds":300' in text
    shown = parsed(backend, "tasks", "show", task_id)
    assert shown["arguments"]["seconds"] == 300
    assert parsed(backend, "tasks", "cancel", task_id)["status"] == "cancelled"
    assert parsed(backend, "tasks", "show", task_id)["status"] == "cancelled"


def test_a_task_that_ended_is_not_cancelled(backend: Up) -> None:
    done = parsed(backend, "enqueue", "add", "a=1", "--wait")["task_id"]
    found = backend.run("tasks", "cancel", done)
    assert (found.returncode, found.stdout) == (1, f"{done} is succeeded\n")


def test_a_task_that_never_was_is_one_line(backend: Up) -> None:
    for task_id in ("default-nosuch", "nosuch-1", "nosuch"):
        found = backend.run("tasks", "show", task_id)
        assert found.returncode == 1
        assert task_id in found.stderr
        assert len(found.stderr.splitlines()) == 1


def make_dead(backend: Up, path: Path) -> dict[str, Any]:
    task_id = backend.run("enqueue", "fail", f"path={path}").stdout.strip()

    def find() -> list[dict[str, Any]]:
        letters = parsed(backend, "dead", "list")
        return [letter for letter in letters if letter["task_id"] == task_id]

    return wait_until(find, "it is dead")[0]


def test_a_dead_letter_is_replayed(backend: Up, tmp_path: Path) -> None:
    letter = make_dead(backend, tmp_path / "file")
    shown = json.loads(backend.run("dead", "show", letter["task_id"]).stdout)
    assert shown["errors"][-1]["message"] == "no such file yet"
    assert letter["id"] in backend.run("dead", "list", "--queue", "broken").stdout
    assert parsed(backend, "dead", "list", "--queue", "default") == []
    (tmp_path / "file").touch()
    assert parsed(backend, "dead", "replay", letter["id"])["done"] == [letter["id"]]

    def status() -> dict[str, Any]:
        found: dict[str, Any] = parsed(backend, "tasks", "show", letter["task_id"])
        return found

    wait_until(lambda: status()["status"] == "succeeded", "it is run")
    assert status()["result"] == "mended"
    assert letter["id"] not in backend.run("dead", "list").stdout


def test_dead_letters_are_purged(backend: Up, tmp_path: Path) -> None:
    backend.run("dead", "purge", "--all", "--yes")  # what other tests have left
    one, two = (make_dead(backend, tmp_path / name) for name in ("one", "two"))
    found = backend.run("dead", "purge", one["id"])
    assert found.stdout == f"{one['id']} is deleted\n"
    assert backend.run("dead", "purge", one["id"]).returncode == 1
    [group] = parsed(backend, "dead", "groups")
    assert (group["count"], group["newest"]) == (1, two["id"])
    assert backend.run("dead", "groups").stdout.count(group["error"]) == 1
    assert parsed(backend, "dead", "replay", "--all", "--error", "Other")["done"] == []
    other = backend.run("dead", "replay", "--all", "--error", "Other")
    assert other.stdout == "no dead letters of that choice\n"
    assert backend.run("dead", "replay", two["id"], "--pace", "1").returncode == 2
    asked = backend.run("dead", "purge", "--all")
    assert (asked.returncode, "--yes" in asked.stderr) == (2, True)
    assert two["id"] in parsed(backend, "dead", "purge", "--all", "--yes")["done"]
    assert parsed(backend, "dead", "list") == []
    for verb in (("list",), ("replay", "--all")):
        assert backend.run("dead", *verb).stdout == "no dead letters\n"
    assert backend.run("dead", "purge").returncode == 2


def test_an_id_in_two_queues_is_refused_until_the_queue_is_named(
    own_server: EmbeddedServer,
) -> None:
    env = environment(CASTWORK_APP="sample_app", CASTWORK_URL=own_server.url)
    with redis.Redis.from_url(own_server.url) as client:
        for name in ("slow", "broken"):
            letter = {"id": f"{name}-1", "lane": "normal", "attempts": 1, "errors": "[]"}
            client.xadd(QueueKeys.of("cw", Queue(name)).dead, letter, id="5-5")  # type: ignore[arg-type]
    for verb in ("show", "replay", "purge"):
        found = castwork("dead", verb, "5-5", env=env)
        assert found.returncode == 1, found
        assert "several queues have the id 5-5: name the queue (broken, slow)" in found.stderr
    assert castwork("dead", "purge", "5-5", "--queue", "slow", env=env).returncode == 0
    shown = castwork("dead", "show", "5-5", env=env)
    assert json.loads(shown.stdout)["queue"] == "broken"
    unknown = castwork("dead", "list", "--queue", "nosuch", env=env)
    assert (unknown.returncode, "there are: broken, " in unknown.stderr) == (2, True)


def test_an_event_is_published_and_heard(backend: Up, start: Callable[..., Running]) -> None:
    event_id = parsed(backend, "publish", "news", '{"n": 1}')["id"]
    env = environment(CASTWORK_APP="sample_app", CASTWORK_URL=backend.server_url)
    listener = start("listen", "news", "--after", "0", "--json", env=env)
    listener.wait_for(r'"n": ?1')
    second = backend.run("publish", "news", '{"n": 2}').stdout.strip()
    listener.wait_for(r'"n": ?2')
    listener.signal(signal.SIGINT)
    assert listener.wait() == 0
    heard = [json.loads(line) for line in listener.output.splitlines()]
    assert [item["id"] for item in heard] == [event_id, second]
    assert [item["event"] for item in heard] == [{"n": 1}, {"n": 2}]


def test_a_plain_channel_counts_who_hears(backend: Up, start: Callable[..., Running]) -> None:
    env = environment(CASTWORK_APP="sample_app", CASTWORK_URL=backend.server_url)
    listener = start("listen", "plain", env=env)
    wait_until(
        lambda: parsed(backend, "publish", "plain", '{"n": 1}')["subscribers"] == 1, "it listens"
    )
    listener.wait_for(r'\{"n":1\}')


def test_a_node_of_a_cluster_counts_its_own_connections_only() -> None:
    with shared_server(kind="cluster") as url:
        env = environment(CASTWORK_APP="sample_app", CASTWORK_URL=url)
        sent = castwork("publish", "plain", "{}", env=env)

    assert sent.stdout.strip() == "sent to at least 0 connections", sent


def test_publish_refuses_what_does_not_fit(backend: Up) -> None:
    for arguments in (("nosuch", "{}"), ("news", "5"), ("news", "{")):
        found = backend.run("publish", *arguments)
        assert found.returncode == 2, found
        assert len(found.stderr.splitlines()) == 1


def test_doctor_finds_a_backend_well(backend: Up) -> None:
    checks = {check["name"]: check for check in parsed(backend, "doctor")}
    assert {"server", "protocol", "latency", "clock", "memory", "workers"} <= set(checks)
    assert checks["protocol"]["message"] == "RESP3"
    assert checks["workers"] == {"name": "workers", "level": "ok", "message": "2 alive", "mend": ""}
    assert checks["default"]["level"] == "ok"
    assert checks["persistence"]["level"] == "warn"
    assert "warn  persistence" in backend.run("doctor").stdout
