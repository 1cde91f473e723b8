"""Run through: a flow whose calls run at once, one after another, in tests without a server."""

from __future__ import annotations

from typing import Any

from castwork.model.states import TaskState
from castwork.tasks.call import Call
from castwork.tasks.flow import AllOf, Each, EachOf, Flow, Further, Rescue, Then
from castwork.tasks.passing import passing
from castwork.tasks.task import Task


class _Stopped(Exception):
    """A step did not succeed, so that nothing behind it runs."""

    def __init__(self, task: Task[Any]) -> None:
        super().__init__(task.id)
        self.task = task


async def run_through(flow: Flow[Any]) -> Task[Any]:
    """Run a flow; return the task of its last step.

    Where a step does not succeed, it is that step's task.
    """
    try:
        return await _task(flow)
    except _Stopped as stopped:
        return stopped.task


async def _task(flow: Flow[Any]) -> Task[Any]:
    """Run a flow up to its last step, whose task may have failed."""
    if isinstance(flow, Call):
        return await flow.enqueue()
    if not isinstance(flow, Then):
        return await passing(flow).enqueue(await _value(flow))
    return await _enqueue(flow.further, await _value(flow.before))


async def _enqueue(further: Further, value: Any) -> Task[Any]:
    return await further.function.enqueue(value, *further.args, **further.kwargs)


async def _value(flow: Flow[Any]) -> Any:
    """Run what a step takes, and return its result; raises _Stopped where there is none."""
    if isinstance(flow, Rescue):
        return await _answered(flow)
    if not isinstance(flow, Each):
        return await _result(await _task(flow), goes_on=False)
    if isinstance(flow, AllOf):
        return [await _member(one, flow) for one in flow.members]
    assert isinstance(flow, EachOf)
    assert flow.before is not None
    assert flow.further is not None
    tasks = [await _enqueue(flow.further, item) for item in await _value(flow.before)]
    return [await _result(task, goes_on=flow.goes_on) for task in tasks]


async def _answered(flow: Rescue) -> Any:
    try:
        return await _value(flow.before)
    except _Stopped as stopped:
        return await _result(await _enqueue(flow.further, await stopped.task.wait()), goes_on=False)


async def _member(one: Flow[Any], among: AllOf) -> Any:
    return await _result(await run_through(one), goes_on=among.goes_on)


async def _result(task: Task[Any], *, goes_on: bool) -> Any:
    if (await task.wait()).status is TaskState.SUCCEEDED:
        return await task.result()
    if goes_on:
        return None
    raise _Stopped(task)
