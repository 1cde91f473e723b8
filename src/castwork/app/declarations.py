"""Declarations: what an app consists of, and the decorators that say so."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Sequence,
)
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from castwork.app.task_declarations import TaskDeclarations
from castwork.channels.channel import Channel, GroupHandler
from castwork.channels.event import EventCodec
from castwork.channels.setting import Setting
from castwork.model.credentials import CredentialSource
from castwork.model.errors import DefinitionError
from castwork.model.settings import AppSettings
from castwork.redis.server import Needs
from castwork.tasks.call import Call
from castwork.tasks.chain import Proceed, ProceedSync
from castwork.tasks.decorators import ResourceDecorator
from castwork.tasks.end_hooks import EndHook, Final, add_hook
from castwork.tasks.function import TaskFunction
from castwork.tasks.queue import Queue as PublicQueue
from castwork.tasks.resource import Resource, Resources

if TYPE_CHECKING:
    # Loaded when used: a process that only enqueues starts without these modules.
    from castwork.worker.preparation import StartHook

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
C = TypeVar("C")
Hook = TypeVar("Hook", bound=Callable[[], Awaitable[None] | None])
EndHookT = TypeVar("EndHookT", bound=EndHook)
AroundAsync = TypeVar("AroundAsync", bound=Callable[[Call[Any], Proceed], Awaitable[Any]])
AroundPlain = TypeVar("AroundPlain", bound=Callable[[Call[Any], ProceedSync], Any])


class Declarations(TaskDeclarations):
    """What an app consists of: its task functions, queues, channels, settings and hooks.

    Args:
        url, settings, credentials, env: as of `App`.
    """

    def __init__(
        self,
        url: str = "embedded://",
        *,
        settings: AppSettings | None = None,
        credentials: CredentialSource | None = None,
        env: str | None = "CASTWORK",
    ) -> None:
        super().__init__(url, settings=settings, credentials=credentials, env=env)
        self._groups: dict[str, tuple[GroupHandler, TaskFunction[..., Any]]] = {}
        self._start_hooks: list[StartHook] = []
        self._resources = Resources()
        self.channels: dict[str, Channel[Any]] = {}
        self.shared_settings: dict[str, Setting[Any]] = {}

    def needs(self) -> Needs:
        """What the server must be for what is declared."""
        kept = any(channel.has_history for channel in self.channels.values())
        of_tasks = super().needs()
        return Needs(
            kept or bool(self.shared_settings) or of_tasks.keeps_data, of_tasks.allows_eviction
        )

    def channel(self, name: str, kind: type[R] = Any, *, history: int = 0) -> Channel[R]:  # type: ignore[assignment]
        """Declare a channel.

        Args:
            name: the channel's name; without history exactly the Redis channel's name.
            kind: type of the events: a struct, a dataclass, a Pydantic model, a dict ...
            history: events that are kept, so that subscribers can catch up; 0 for none.

        Raises:
            DefinitionError: the name is taken, or the type has no JSON form.
        """
        if name in self.channels:
            raise DefinitionError(f"channel {name!r} is declared twice")
        codec = EventCodec(f"channel {name!r}", kind, self.settings.limits.payload)
        namespace = self.settings.namespace
        channel = Channel(name, codec, self._connections, namespace, history=history)
        self.channels[name] = channel
        return channel

    def setting(self, name: str, kind: type[R], *, default: R) -> Setting[R]:
        """Declare a setting that every process shares; read it as `setting.value`.

        Raises:
            DefinitionError: the name is taken, or the type has no JSON form.
        """
        if name in self.shared_settings:
            raise DefinitionError(f"setting {name!r} is declared twice")
        codec = EventCodec(f"setting {name!r}", kind, self.settings.limits.payload)
        setting = Setting(name, codec, self._connections, self.settings.namespace, default)
        self.shared_settings[name] = setting
        return setting

    @overload
    def resource(self, make: Callable[[], AsyncIterator[T]], /) -> Resource[T]: ...
    @overload
    def resource(self, make: Callable[[], Iterator[T]], /) -> Resource[T]: ...
    @overload
    def resource(self, make: Callable[[], Coroutine[Any, Any, T]], /) -> Resource[T]: ...
    @overload
    def resource(self, make: Callable[[], T], /) -> Resource[T]: ...
    @overload
    def resource(self, /, *, queues: Sequence[str | PublicQueue]) -> ResourceDecorator: ...

    def resource(
        self, make: Any = None, /, *, queues: Sequence[str | PublicQueue] | None = None
    ) -> Any:
        """Declare what workers make before they claim tasks, and close when the last has ended.

        As `@app.resource` or `@app.resource(queues=[...])`, on a coroutine function, a plain
        function (which runs in a thread), or a generator of either kind that yields the value once.
        Functions read it as `resource.value`. A process makes each once, in the order of
        declaration, so that one may read another that was declared before. When one raises, the
        worker ends, and takes no tasks that it could not run.

        Args:
            queues: only workers that serve one of these make it.
        """
        names = None
        if queues is not None:
            names = [one if isinstance(one, str) else one.name for one in queues]

        def declare(maker: Callable[[], Any]) -> Resource[Any]:
            made: Resource[Any] = Resource(maker, names)
            self._resources.add(made)
            return made

        return declare if make is None else declare(make)

    @overload
    def around_task(self, wrapper: AroundAsync, /) -> AroundAsync: ...
    @overload
    def around_task(self, wrapper: AroundPlain, /) -> AroundPlain: ...

    def around_task(self, wrapper: Any, /) -> Any:
        """Have a function called around each attempt, group handlers' included.

        It gets the `Call` and `proceed`, which goes on with the attempt and answers its result: a
        stream's when it has ended. The first wrapper that is declared is the outermost one. A
        coroutine function runs on the worker's event loop, and awaits `proceed()`. A plain function
        is called around plain functions only, in their own thread. What a wrapper raises is the
        attempt's failure. Declare wrappers before workers start.
        """
        if inspect.iscoroutinefunction(wrapper):
            self._around_task.add(wrapper)
        else:
            self._around_task.add_plain(wrapper)
        return wrapper

    def around_enqueue(self, wrapper: AroundAsync) -> AroundAsync:
        """Have a coroutine function called around each enqueue, those of `enqueue_many` included.

        It gets the `Call`, whose owner, tenant, labels and headers it may change, and `proceed`,
        which enqueues and answers the task. What it raises reaches the caller, and then there is
        no task. It must not leave out `proceed()` without raising.

        Raises:
            DefinitionError: it is no coroutine function.
        """
        given: Any = wrapper
        if not inspect.iscoroutinefunction(given):
            name = getattr(wrapper, "__name__", wrapper)
            raise DefinitionError(f"{name!r} wraps enqueues on an event loop: make it async")
        self._around_enqueue.add(wrapper)
        return wrapper

    @overload
    def on_end(self, hook: EndHookT, /) -> EndHookT: ...
    @overload
    def on_end(self, *states: Final) -> Callable[[EndHookT], EndHookT]: ...

    def on_end(self, *given: Any) -> Any:
        """Have a function called when a task of any function has ended; see `TaskFunction.on_end`.

        As `@app.on_end`, or `@app.on_end("failed", "dead")` for some ends.
        """
        return add_hook(self.end_hooks, "", given)

    def on_worker_start(self, hook: Hook) -> Hook:
        """Have every worker call a function before it claims tasks: to load a model, say.

        When the hook raises, the worker ends, and takes no tasks that it could not run.
        """
        self._start_hooks.append(hook)
        return hook
