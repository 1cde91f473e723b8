"""Inline: tasks run where they are enqueued, at once and without any server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, Self

import msgspec

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.channels.receipt import Receipt
from castwork.channels.setting import Setting
from castwork.model.call_options import CallSettings
from castwork.model.chunk import Chunk
from castwork.model.codec import encode_value
from castwork.model.entry import Meta
from castwork.model.ids import new_id, own_id
from castwork.model.option_values import Seconds
from castwork.model.position import Position
from castwork.model.record import ErrorInfo, Record, TaskStatus, status_of
from castwork.model.safe_text import text_of
from castwork.model.signals import Discard, Retry
from castwork.redis.handlers import call_handler
from castwork.redis.portal import portal
from castwork.tasks.function import TaskFunction
from castwork.tasks.task import StreamTask, Task
from castwork.testing.recording import Run
from castwork.testing.single import Outcome, SingleAttempt, one_attempt


class _Ended(StreamTask[Any, Any]):
    """A task that has ended before its handle was there."""

    record: Record
    output: list[Chunk]

    async def status(self) -> TaskStatus:
        return status_of(self.id, self.queue, self.record)

    async def cancel(self, reason: str = "", *, timeout: Seconds = 10.0) -> bool:
        return False

    async def _outcome(self, timeout: Seconds | None) -> Record:
        return self.record

    async def events(self, after: str | None = None) -> AsyncGenerator[Chunk | Record, None]:
        begin = Position.parse_or_start(after)
        for chunk in self.output:
            if begin is None or chunk.position > begin:
                yield chunk
        yield self.record

    @property
    def _twin(self) -> Self:
        return self


class _Inline(Run):
    """A run without a server."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self._known: dict[Any, Task[Any]] = {}

    async def submit(
        self, function: TaskFunction[..., Any], settings: CallSettings, encoded: bytes
    ) -> Task[Any]:
        """Run a call to its end, and return its task; that of an id or key again, if it has one."""
        prefix = function.queue.id_prefix
        task_id = own_id(prefix, settings.id or new_id())
        names = [task_id]
        if settings.key is not None:
            names.append(f"{function.name} {settings.tenant} {settings.key}")
        for name in names:
            if name in self._known:
                task = self._known[name]
                return function.handle_like(task, created=False)
        outcome, attempts = await self._run(function, settings, encoded, task_id)
        task = _handle(function, task_id, outcome, attempts)
        for name in names:
            self._known[name] = task
        self.note(function.name, task)
        await self._tell_end(await task.status(), settings, function, encoded)
        return task

    async def _run(
        self,
        function: TaskFunction[..., Any],
        settings: CallSettings,
        encoded: bytes,
        task_id: str,
    ) -> tuple[Outcome[Any], int]:
        """Attempt after attempt, without waiting, until one decides."""
        meta = Meta(
            owner=settings.owner,
            tenant=settings.tenant,
            labels=dict(settings.labels),
            headers=dict(settings.headers),
        )
        allowed = settings.attempts or function.settings.attempts
        number = counted = 0
        saved: bytes | None = None
        while True:
            number, counted = number + 1, counted + 1
            attempt = SingleAttempt(function, task_id, number, meta)
            attempt.checkpoint = saved
            outcome = await one_attempt(function, encoded, attempt)
            saved = attempt.checkpoint
            error = outcome.error
            if isinstance(error, Retry) and error.counted is False:
                counted -= 1
            if counted >= allowed or not _may_retry(function, error):
                return outcome, number

    async def _tell_end(
        self,
        status: TaskStatus,
        settings: CallSettings,
        function: TaskFunction[..., Any],
        encoded: bytes,
    ) -> None:
        status.arguments = msgspec.json.decode(encoded)
        status.owner, status.tenant = settings.owner, settings.tenant
        status.labels = dict(settings.labels)
        if function.store.follow_up(status):
            await self._app.end_hooks.runner(function.name)(_plain(status))

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Let channels and settings reach this process's handlers at once."""
        changed: list[tuple[Any, Any]] = []
        for channel in self._app.channels.values():
            changed.append((channel, channel.publisher))
            channel.publisher = _ToHandlers(channel)  # type: ignore[assignment]
        for setting in self._app.shared_settings.values():
            changed.append((setting, setting.publisher))
            setting.publisher = _ToSetting(setting)  # type: ignore[assignment]
        try:
            yield
        finally:
            for owner, publisher in changed:
                owner.publisher = publisher


class _ToHandlers:
    """Publishes to the handlers of this process, those of groups included."""

    def __init__(self, channel: Channel[Any]) -> None:
        self._channel = channel

    async def publish(self, event: Any) -> Receipt:
        channel = self._channel
        checked = channel.codec.decode(channel.codec.encode(event))
        handlers = [*channel.handlers, *(group.handler for group in channel.groups)]
        for handler in handlers:
            await call_handler(handler, checked)
        return Receipt(channel.name, None, "", len(handlers))

    def publish_sync(self, event: Any, *, name: str) -> Receipt:
        return portal.run(name, lambda: self.publish(event))


class _ToSetting:
    """Sets a setting in this process."""

    def __init__(self, setting: Setting[Any]) -> None:
        self._setting = setting

    async def publish(self, value: Any) -> Receipt:
        codec = self._setting.codec
        self._setting.value = codec.decode(codec.encode(value))
        return Receipt(self._setting.name, None, "", 1)

    def publish_sync(self, value: Any, *, name: str) -> Receipt:
        return portal.run(name, lambda: self.publish(value))


@contextmanager
def inline(app: App) -> Iterator[Run]:
    """Let `enqueue` run each task at once in this process, with no server at all.

    One attempt follows the other without waiting; delays, priorities and schedules are skipped,
    timeouts kept. `result()` answers or raises as ever, ids and keys find their first task, hooks
    and wrappers are called, events reach this process's handlers. Plain functions run in a thread.
    """
    run = _Inline(app)
    with app.submitting_by(run.submit), run.publishing(), run.recording_events():
        yield run


def _handle(
    function: TaskFunction[..., Any], task_id: str, outcome: Outcome[Any], attempts: int
) -> Task[Any]:
    ended = _Ended(task_id, function.store, function.decode_result, created=True)
    ended.load_item = lambda item: item
    record = Record(outcome.status, function.name, attempts)
    if outcome.error is not None:
        error = outcome.error
        record.error = ErrorInfo(type(error).__name__, text_of(error), attempt=attempts)
    elif outcome.result is not None:
        record.result = msgspec.Raw(encode_value(outcome.result))
    ended.record, ended.output = record, outcome.chunks
    return ended


def _plain(status: TaskStatus) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(status))
    return plain


def _may_retry(function: TaskFunction[..., Any], error: BaseException | None) -> bool:
    settings = function.settings
    if error is None or isinstance(error, Discard):
        return False
    if isinstance(error, Retry):
        return True
    if settings.retry_on is not None:
        return isinstance(error, settings.retry_on)
    return not isinstance(error, settings.give_up_on)
