from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from castwork.model.call_options import CallOptions, CallSettings
from castwork.model.errors import DefinitionError, InvalidArguments
from castwork.model.queue import adopted_queue, check_queue_name
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
    assert list(written.__annotations__) == list(kept.__struct_fields__)
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
        ({"colour": "red"}, "no such option.*colour"),
        ({"key_ttl": 0.5}, "^key_ttl must be at least 1 second"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        settings(**options)


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
    ],
)
def test_task_functions_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        TaskSettings("f", **options)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"lease": 0.2}])
def test_workers_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="must be at least"):
        WorkerSettings(**options)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "{a", "a}", "a*"])
def test_names_that_keys_give_a_meaning_are_no_queues(name: str) -> None:
    with pytest.raises(DefinitionError, match="a queue's name has no"):
        check_queue_name(name)


def test_an_adopted_stream_has_lanes_beside_it_for_retries() -> None:
    queue = adopted_queue("orders", "billing")

    assert (queue.name, queue.group) == ("orders", "billing")
    assert [lane.name for lane in queue.lanes] == ["high", "normal", "low", "stream"]
    assert queue.lanes[3].priority is Priority.NORMAL
