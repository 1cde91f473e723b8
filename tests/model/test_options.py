from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, get_type_hints

import msgspec
import pytest

from castwork.model.call_options import CallOptions, CallSettings
from castwork.model.errors import DefinitionError, InvalidArguments
from castwork.model.option_values import LONGEST
from castwork.model.queue import QueueSettings, adopted_queue, check_queue_name
from castwork.model.settings import AppSettings, Limits, LinkSettings
from castwork.model.states import Priority
from castwork.model.task_options import TaskOptions, TaskSettings
from castwork.model.worker_options import WorkerOptions, WorkerSettings


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (TaskOptions, TaskSettings),
        (CallOptions, CallSettings),
        (WorkerOptions, WorkerSettings),
    ],
)
def test_what_users_may_write_is_what_is_kept(written: Any, kept: type[msgspec.Struct]) -> None:
    # The type of the result depends on these, so that each is a keyword of its own overload.
    apart = ("batch", "result", "keep_result")
    shared = [name for name in kept.__struct_fields__ if name not in apart]
    assert list(get_type_hints(written)) == shared
    assert written.__required_keys__ == frozenset()


@pytest.mark.parametrize("kept", [TaskSettings, CallSettings, WorkerSettings])
def test_each_setting_is_described(kept: type[msgspec.Struct]) -> None:
    for name in kept.__struct_fields__:
        assert re.search(rf"^ +{name}: ", kept.__doc__ or "", re.MULTILINE)


# -- of calls ----------------------------------------------------------------------------


def settings(**options: Any) -> CallSettings:
    return CallSettings().replaced(options)  # type: ignore[arg-type]


def test_options_replace_what_they_name() -> None:
    first = settings(priority="high", key="k", labels={"a": "1"})
    second = first.replaced({"priority": "low", "delay": 2.0})

    assert (first.priority, first.key, first.delay) == (Priority.HIGH, "k", 0.0)
    assert (second.priority, second.key, second.delay) == (Priority.LOW, "k", 2.0)
    assert second.labels == first.labels == (("a", "1"),)


def test_equal_options_hash_alike() -> None:
    one = settings(labels={"a": "1", "b": "2"}, headers={"x": "y"})
    other = settings(headers={"x": "y"}, labels={"b": "2", "a": "1"})

    assert one == other
    assert hash(one) == hash(other)
    assert one != settings(labels={"a": "1"})


def test_a_priority_may_be_the_enums() -> None:
    assert settings(priority=Priority.LOW) == settings(priority="low")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"priority": "urgent"}, "no priority 'urgent'"),
        ({"colour": "red"}, "a call has no option 'colour'"),
        ({"countdown": 5}, "no option 'countdown'; did you mean 'delay'"),
        ({"delay": "5"}, "^delay is '5': give seconds"),
        ({"delay": float("nan")}, "^delay is nan"),
        ({"delay": -1}, "^delay is -1"),
        ({"deadline": 0}, "^deadline is 0"),
        ({"deadline": float("inf")}, "^deadline is inf"),
        ({"timeout": 0}, "^timeout is 0"),
        ({"timeout": float("inf")}, "^timeout is inf"),
        ({"timeout": "5"}, "^timeout is '5'"),
        ({"attempts": "3"}, "^attempts is '3'"),
        ({"attempts": 2.5}, "^attempts is 2.5"),
        ({"attempts": 0}, "^attempts is 0"),
        ({"key": ""}, "^key is empty"),
        ({"key": 7}, "^key is 7: give text"),
        ({"id": 7}, "^id is 7: give text"),
        ({"owner": None}, "^owner is None: give text"),
        ({"tenant": "\ud800"}, "^tenant is .*no UTF-8"),
        ({"key_ttl": 0.5}, "^key_ttl must be at least 1 second"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        settings(**options)


def test_durations_of_a_call_may_be_timedeltas() -> None:
    made = settings(delay=timedelta(minutes=1), deadline=timedelta(hours=1), timeout=2)

    assert (made.delay, made.deadline, made.timeout) == (60.0, 3600.0, 2.0)


def test_a_call_without_a_bound_outlasts_the_functions_timeout() -> None:
    assert settings(timeout=None).timeout == LONGEST
    assert settings().timeout is None


@pytest.mark.parametrize(
    "labels",
    [
        {str(number): "x" for number in range(16)},
        {"k" * 100: "v" * 100},
        {"k": "ü" * 99},
        {},
    ],
)
def test_labels_within_the_limits_travel(labels: dict[str, str]) -> None:
    assert dict(settings(labels=labels).labels) == labels


@pytest.mark.parametrize(
    "labels",
    [
        {str(number): "x" for number in range(17)},
        {"k" * 100: "v" * 101},
        {"k": "ü" * 100},
    ],
)
def test_labels_beyond_the_limits_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidArguments, match="16 labels of 200 bytes") as caught:
        settings(labels=labels)

    assert caught.value.field == "labels"


def test_headers_have_eight_kilobytes_together() -> None:
    headers = {"a": "x" * 4095, "b": "ü" * 2047 + "x"}
    assert dict(settings(headers=headers).headers) == headers

    with pytest.raises(InvalidArguments, match="8,192 bytes of headers") as caught:
        settings(headers=headers | {"c": ""})

    assert caught.value.field == "headers"


@pytest.mark.parametrize("name", ["labels", "headers"])
@pytest.mark.parametrize(
    "given", [{"a": 1}, {1: "a"}, {1: "a", "b": "c"}, {"a": None}, {"a": "\ud800"}, None, ["a"]]
)
def test_labels_and_headers_are_text(name: str, given: Any) -> None:
    with pytest.raises(InvalidArguments, match=f"{name} (are|have) text") as caught:
        settings(**{name: given})

    assert caught.value.field == name


# -- of task functions, workers and queues -----------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"result_ttl": 59.0},
        {"timeout": 0.0},
        {"timeout": -1.0},
        {"queue": "a b"},
        {"queue": ""},
        {"queue": 3},
        {"attempts": "3"},
        {"attempts": True},
        {"timeout": float("inf")},
        {"timeout": "5"},
        {"result_ttl": float("nan")},
        {"backoff": 3},
        {"stream": ""},
        {"group": ""},
        {"keep_entries": "no"},
        {"name": ""},
        {"retries": 3},
    ],
)
def test_task_functions_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(DefinitionError, match=name):
        TaskSettings.of("f", options)  # type: ignore[arg-type]


def test_durations_of_a_task_function_may_be_timedeltas() -> None:
    made = TaskSettings.of("f", {"timeout": timedelta(minutes=1), "result_ttl": timedelta(hours=1)})

    assert (made.timeout, made.result_ttl) == (60.0, 3600.0)


@pytest.mark.parametrize("options", [{"max_depth": -1}, {"concurrency": -1}, {"concurrency": 0}])
def test_queues_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="must be at least"):
        QueueSettings(**options)


@pytest.mark.parametrize(
    "kind", [AppSettings, LinkSettings, Limits], ids=lambda kind: str(kind.__name__)
)
def test_settings_of_an_app_are_checked_each(kind: type[msgspec.Struct]) -> None:
    for name in kind.__struct_fields__:
        with pytest.raises(DefinitionError, match=f"^{name} "):
            kind(**{name: float("nan")})


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"lease": 0.2},
        {"grace": float("nan")},
        {"block": 0},
        {"scheduler_interval": 0},
        {"heartbeat": "2"},
        {"leese": 3},
    ],
)
def test_workers_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(DefinitionError, match=name):
        WorkerSettings.of(options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "{a", "a}", "a*"])
def test_names_that_keys_give_a_meaning_are_no_queues(name: str) -> None:
    with pytest.raises(DefinitionError, match="a queue's name has no"):
        check_queue_name(name)


def test_an_adopted_stream_has_lanes_beside_it_for_retries() -> None:
    queue = adopted_queue("orders", "billing")

    assert (queue.name, queue.group) == ("orders", "billing")
    assert [lane.name for lane in queue.lanes] == ["high", "normal", "low", "stream"]
    assert queue.lanes[3].priority is Priority.NORMAL
