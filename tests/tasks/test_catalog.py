"""What an app can run, by name, and the way from an id to a task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from castwork import App
from castwork.model.errors import DefinitionError, TaskNotFound, UnknownTask
from castwork.model.ids import lane_suffix
from castwork.model.states import Priority
from castwork.tasks.function import TaskFunction
from castwork.tasks.kinds import CoroutineFunction, PlainFunction, StreamFunction

MADE = f"1K8AM2RQI000003{lane_suffix(Priority.NORMAL)}9OEVNDG6K9ABAM"


@pytest.fixture
def offline() -> App:
    """An app that never connects."""
    return App()


def declare(app: App, name: str = "work", **options: Any) -> TaskFunction[..., Any]:
    @app.task(name=name, **options)
    async def work() -> None: ...

    return work


# -- declaring ------------------------------------------------------------------------------


def test_functions_are_found_by_name_and_by_their_name_in_entries(offline: App) -> None:
    made = [declare(offline, name) for name in ("work", "say it", "grüße")]
    catalog = offline.tasks

    assert list(catalog) == made
    assert [catalog.get(function.name) for function in made] == made
    assert [catalog.find(function.wire_name) for function in made] == made
    assert catalog.find(b"say it") is None
    assert "say it" in catalog
    assert "none" not in catalog
    with pytest.raises(UnknownTask):
        catalog.get("none")


def test_each_function_is_of_its_kind(offline: App) -> None:
    @offline.task
    async def coroutine() -> None: ...

    @offline.task
    def plain() -> None: ...

    @offline.task
    async def stream() -> AsyncIterator[int]:
        yield 1

    kinds = [type(function) for function in offline.tasks]
    assert kinds == [CoroutineFunction, PlainFunction, StreamFunction]
    assert [type(f.options(key="k")) for f in offline.tasks] == kinds


def test_two_functions_of_one_name_are_refused(offline: App) -> None:
    first = declare(offline)
    with pytest.raises(DefinitionError, match="two task functions are named 'work'"):
        declare(offline, queue="other")
    assert list(offline.tasks) == [first]


CELL = """
@app.task(**options)
async def work(n: int) -> int:
    return n + {added}

def other(n: int) -> int:
    return n
"""


def run_cell(app: App, module: str = "__main__", added: int = 0, **options: Any) -> dict[str, Any]:
    """Run source as a notebook runs a cell."""
    names = {"app": app, "options": options, "__name__": module}
    exec(compile(CELL.replace("{added}", str(added)), "<cell>", "exec"), names)
    return names


async def test_function_that_is_declared_again_replaces_what_it_was(offline: App) -> None:
    run_cell(offline, added=1, queue="first")
    between = declare(offline, "between")
    names = run_cell(offline, added=2, queue="second", attempts=5)

    work = offline.tasks.get("work")
    assert list(offline.tasks) == [work, between]
    assert work is names["work"] is offline.tasks.find(b"work")
    assert (work.queue.name, work.settings.attempts, await work(1)) == ("second", 5, 3)
    for queue in ("first", "second"):  # tasks of the first one's queue are found as before
        assert offline.get_task(f"{queue}-{MADE}").queue == queue


def test_function_of_another_place_does_not_replace(offline: App) -> None:
    names = run_cell(offline)
    work = names["work"]
    with pytest.raises(DefinitionError, match="two task functions are named 'work'"):
        run_cell(offline, module="other")
    for function in (names["other"], lambda: None, Some().work):
        with pytest.raises(DefinitionError, match="two task functions are named 'work'"):
            offline.task(name="work")(function)
    for name, made in (("made", lambda: None), ("method", Some().work)):
        offline.task(name=name)(made)
        with pytest.raises(DefinitionError, match="two task functions are named"):
            offline.task(name=name)(made)
    assert offline.tasks.get("work") is work


class Some:
    def work(self) -> None: ...


def test_function_that_adopts_a_stream_is_declared_again(offline: App) -> None:
    run_cell(offline, stream="orders", group="g")
    first = offline.tasks.get("work")
    run_cell(offline, stream="orders", group="g")
    second = offline.tasks.get("work")
    assert second is not first
    assert second.store is first.store, "who waits for its tasks goes on"
    assert offline.tasks.adopting(second.store) is second

    declare(offline, "other", stream="events", group="g")
    with pytest.raises(DefinitionError, match="adopted by 'other' already"):
        run_cell(offline, stream="events", group="g")
    assert offline.tasks.get("work") is second
    assert offline.tasks.adopting(second.store) is second

    run_cell(offline, stream="orders", group="h", foreign_lease=10)
    third = offline.tasks.get("work")
    assert offline.get_task("orders:h:1-1")._store is third.store
    assert {store.queue.group for store in offline.tasks.stores()} == {"g", "h"}
    with pytest.raises(TaskNotFound):
        offline.get_task("orders:g:1-1")


def test_names_that_would_be_one_in_entries_are_two(offline: App) -> None:
    made = [declare(offline, name) for name in ("a b", "a%20b", "a%2520b")]
    assert len({function.wire_name for function in made}) == 3
    assert [offline.tasks.find(function.wire_name) for function in made] == made


def test_stream_is_adopted_once_per_group(offline: App) -> None:
    declare(offline, "a", stream="events", group="g")
    with pytest.raises(DefinitionError, match="adopted by 'a' already"):
        declare(offline, "b", stream="events", group="g")
    with pytest.raises(DefinitionError, match="keep_entries=True"):
        declare(offline, "c", stream="events", group="h")
    with pytest.raises(DefinitionError, match="keep_entries=True"):
        declare(offline, "d", stream="events", group="h", keep_entries=True)
    assert [function.name for function in offline.tasks] == ["a"]


def test_two_groups_that_keep_the_entries_may_read_one_stream(offline: App) -> None:
    first = declare(offline, "a", stream="events", group="g", keep_entries=True)
    second = declare(offline, "b", stream="events", group="h", keep_entries=True)

    assert [offline.tasks.adopting(f.store) for f in (first, second)] == [first, second]
    assert len(offline.tasks.stores()) == 2


def test_functions_of_one_queue_share_its_store(offline: App) -> None:
    offline.queue("q", max_depth=7)
    made = [declare(offline, name, queue="q") for name in ("a", "b")]

    assert made[0].store is made[1].store
    assert made[0].queue.settings.max_depth == 7
    assert offline.tasks.stores() == [made[0].store]


@pytest.mark.parametrize("first", [True, False])
def test_bounds_of_a_queue_come_before_its_functions_or_behind_them(
    offline: App, first: bool
) -> None:
    if first:
        offline.queue("q", max_depth=7)
    function = declare(offline, queue="q")
    queue = offline.queue("q", max_depth=7)
    assert function.queue.settings.max_depth == 7
    assert offline.queue("q") is queue
    with pytest.raises(DefinitionError, match="other bounds"):
        offline.queue("q", max_depth=8)


def test_a_queue_is_named_by_the_object_too(offline: App) -> None:
    queue = offline.queue("gpu")
    function = declare(offline, queue=queue)
    assert function.queue.name == "gpu"
    assert function.options(queue=queue).queue.name == "gpu"


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a{b", "a*"])
def test_name_that_no_queue_can_have_is_refused(offline: App, name: str) -> None:
    with pytest.raises(DefinitionError):
        offline.queue(name)
    with pytest.raises(DefinitionError):
        declare(offline, queue=name)


def test_bounds_of_an_adopted_stream_are_those_of_its_queue(offline: App) -> None:
    offline.queue("intake", concurrency=2)
    offline.queue("events", concurrency=3)
    named = declare(offline, "a", stream="ai:orders", group="g", queue="intake")
    unnamed = declare(offline, "b", stream="events", group="g")

    assert (named.queue.name, named.queue.settings.concurrency) == ("intake", 2)
    assert (named.queue.stream, named.queue.id_prefix) == ("ai:orders", "ai:orders:g")
    assert (unnamed.queue.name, unnamed.queue.settings.concurrency) == ("events", 3)
    for late in ("intake", "events"):
        with pytest.raises(DefinitionError, match="other bounds"):
            offline.queue(late, concurrency=4)
    declare(offline, "c", stream="late", group="g")
    with pytest.raises(DefinitionError, match="before that"):
        offline.queue("late", concurrency=4)


def test_depth_of_a_stream_that_others_write_cannot_be_bound(offline: App) -> None:
    offline.queue("intake", max_depth=5)
    with pytest.raises(DefinitionError, match="max_depth cannot hold for stream 'orders'"):
        declare(offline, stream="orders", group="g", queue="intake")


def test_queue_is_of_an_adopted_stream_or_of_tasks_and_not_of_both(offline: App) -> None:
    declare(offline, "own", queue="own")
    declare(offline, "adopting", stream="orders", group="g", queue="intake")
    with pytest.raises(DefinitionError, match="another queue="):
        declare(offline, "b", queue="intake")
    with pytest.raises(DefinitionError, match="another queue="):
        declare(offline, "c", stream="events", group="g", queue="own")


@pytest.mark.parametrize("options", [{"group": "g"}, {"keep_entries": True}])
def test_options_of_a_stream_need_the_stream(offline: App, options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="give stream="):
        declare(offline, **options)


def test_queues_to_serve_are_chosen_by_name(offline: App) -> None:
    own = declare(offline, "own", queue="orders")
    for group in ("a", "b"):
        declare(offline, group, stream="orders", group=group, keep_entries=True)
    other = declare(offline, "other", queue="other")
    catalog = offline.tasks

    assert catalog.serving(["other", "other"]) == ([other.store], True)
    assert catalog.serving() == (catalog.stores(), False)
    names = [store.queue.name for store in catalog.serving(["other", "orders"]).stores]
    assert names == ["other", "orders", "orders", "orders"]
    served = catalog.serving(["orders"]).stores
    assert own.store in served
    assert {store.queue.stream for store in served} == {None, "orders"}
    assert len(served) == 3
    for names in ([], ["orders", "nosuch"], [""], "orders"):
        with pytest.raises(DefinitionError):
            catalog.serving(names)
        with pytest.raises(DefinitionError):
            offline.worker(names)


# -- finding --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_id_names_one_queue_whatever_other_names_it_begins_with(offline: App, order: int) -> None:
    names = ["a", "a-b", "a-b-c", "ab", f"a-{MADE}"]
    for number, name in enumerate(names[::order]):
        declare(offline, f"work{number}", queue=name)

    for name in names:
        for end in (f"-{MADE}", f"-{MADE[:18]}", ":mine", ":a-b"):
            task_id = name + end
            assert offline.get_task(task_id).queue == name
            assert offline.get_task(task_id).id == task_id
    with pytest.raises(TaskNotFound):  # a task of queue `a-x`, which another app may have
        offline.get_task(f"a-x-{MADE}")


@pytest.mark.parametrize(
    "task_id", ["", "a", "b:1", "ba-x", ":a", "-", "A:mine", f"-a-{MADE}", "a-b", "a:b:c"]
)
def test_id_of_no_queue_here_names_no_task(offline: App, task_id: str) -> None:
    declare(offline, queue="a")
    with pytest.raises(TaskNotFound):
        offline.get_task(task_id)


@pytest.mark.parametrize("order", [1, -1])
def test_ids_of_adopted_entries_lead_to_their_stream_and_group(offline: App, order: int) -> None:
    declare(offline, "own", queue="orders")
    adopted = [("orders", "a"), ("orders:a", "b"), ("orders-x", "a"), ("{t}:orders", "a:b")]
    adopted += [("orders", "a:b"), ("{t}:orders:a", "b")]
    for number, (stream, group) in enumerate(adopted[::order]):
        declare(offline, f"work{number}", stream=stream, group=group, keep_entries=True)

    for stream, group in adopted:
        # That of an entry, and those of tasks that were enqueued under its function.
        for end in (":1764000000000-0", ":mine", f"-{MADE}"):
            part = group.replace(":", "~3A")
            queue = offline.get_task(f"{stream}:{part}{end}")._store.queue
            assert (queue.stream, queue.group) == (stream, group)
    assert offline.get_task("orders:mine")._store.queue.stream is None
    for function in offline.tasks:
        assert offline.get_task(function.task(id="mine").id)._store is function.store


def test_two_groups_of_one_stream_have_tasks_of_their_own(offline: App) -> None:
    for group in ("a", "ab"):
        declare(offline, f"work-{group}", stream="orders", group=group, keep_entries=True)

    for group in ("a", "ab"):
        found = offline.get_task(f"orders:{group}:1764000000000-0")
        assert found._store.queue.group == group
