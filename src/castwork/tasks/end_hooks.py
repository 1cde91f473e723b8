"""EndHooks: functions that are called when tasks have ended, by a task that follows each end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec

from castwork.model.entry import wire_name
from castwork.model.errors import ConnectionFailed, DefinitionError, QueueFull
from castwork.model.ids import new_digits, new_producer
from castwork.model.record import TaskStatus
from castwork.model.signals import Retry
from castwork.redis.handlers import call_handler

#: How a task may end.
Final = Literal["succeeded", "failed", "dead", "cancelled", "expired"]

#: Takes the final status; a plain function is called in a thread.
EndHook = Callable[[TaskStatus], Awaitable[None] | None]

#: Stands behind the name of a function in that of the task that follows the end of its tasks.
SUFFIX = ":on_end"

#: Stands in place of the function's name where the task is a step of a flow.
STEP = ":step"

#: Seconds until a step's end is carried again where a queue was full or a server away.
_LATER = 2.0

_FINAL = ("succeeded", "failed", "dead", "cancelled", "expired")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TaskStatus).decode


class EndHooks:
    """The hooks of an app, for all its functions or for one.

    A task whose end is wanted is followed by one that calls the hooks, enqueued in the step that
    stores the outcome: so they are called at least once, whatever becomes of the worker.
    """

    def __init__(self) -> None:
        self._hooks: list[tuple[str, tuple[str, ...], EndHook]] = []

    @property
    def is_empty(self) -> bool:
        """Whether there are no hooks."""
        return not self._hooks

    def add(self, function: str, states: Sequence[str], hook: EndHook) -> None:
        """Add a hook.

        Args:
            function: name of the task function; empty for all.
            states: how tasks end that it is called for; empty for all.
            hook: the function.

        Raises:
            DefinitionError: no task ends in such a state.
        """
        for state in states:
            if state not in _FINAL:
                raise DefinitionError(f"no task ends as {state!r}: use {', '.join(_FINAL)}")
        self._hooks.append((function, tuple(states) or _FINAL, hook))

    def are_of(self, function: str) -> bool:
        """Whether any end of a function's tasks is wanted."""
        return any(_is_of(name, function) for name, _, _ in self._hooks)

    def want(self, function: str, state: str) -> bool:
        """Whether such an end of a function's tasks is wanted."""
        return any(_is_of(name, function) and state in ends for name, ends, _ in self._hooks)

    def follow_up(self, status: TaskStatus) -> bytes:
        """The field `call` of the task that follows an end; empty where nobody wants it."""
        wants = self.want(status.task, status.status.value)
        if not wants and status.step is None:
            return b""
        if not wants:
            status = msgspec.structs.replace(status, result=msgspec.UNSET, arguments=None)
        nonce = new_producer() + new_digits()
        name = wire_name((status.task if status.step is None else STEP) + SUFFIX)
        return b'%b %b {"status":%b}' % (name, nonce.encode(), _encode(status))

    def step_runner(
        self, carry: Callable[[TaskStatus], Awaitable[None]]
    ) -> Callable[[dict[str, Any]], Awaitable[None]]:
        """The function of the task that follows the end of a flow's step.

        Args:
            carry: tells the steps behind it.
        """

        async def on_end(status: dict[str, Any]) -> None:
            ended = _decode(_encode(status))
            try:
                await carry(ended)
            except (QueueFull, ConnectionFailed) as error:  # what waits must not be given up
                raise Retry(
                    f"{type(error).__name__}: {error}", after=_LATER, counted=False
                ) from error
            if self.want(ended.task, ended.status.value):
                await self.runner(ended.task)(status)

        return on_end

    def runner(self, function: str) -> Callable[[dict[str, Any]], Awaitable[None]]:
        """The function of the task that follows the ends of a function's tasks."""

        async def on_end(status: dict[str, Any]) -> None:
            ended = _decode(_encode(status))
            wanted = [
                hook
                for name, ends, hook in self._hooks
                if _is_of(name, function) and ended.status.value in ends
            ]
            # One that fails keeps no other from being called, this time; all are called again.
            replies = await asyncio.gather(
                *(call_handler(hook, ended) for hook in wanted), return_exceptions=True
            )
            for reply in replies:
                if isinstance(reply, BaseException):
                    raise reply

        return on_end


def _is_of(name: str, function: str) -> bool:
    """Whether a hook for a function, or for all where its name is empty, is one for this function.

    The tasks that call the hooks are no work of their own: nobody is told their ends.
    """
    return name == function or (not name and not function.endswith(SUFFIX))


def add_hook(hooks: EndHooks, function: str, given: tuple[Any, ...]) -> Any:
    """Add a hook as a decorator does that may have states, and return what the decorator returns.

    Args:
        hooks: where to add it.
        function: name of the task function; empty for all.
        given: the hook alone, or names of states.
    """
    if len(given) == 1 and callable(given[0]):
        hooks.add(function, (), given[0])
        return given[0]
    EndHooks().add("", given, lambda _: None)  # refuses what is no state, at once

    def declare(hook: EndHook) -> EndHook:
        hooks.add(function, given, hook)
        return hook

    return declare
