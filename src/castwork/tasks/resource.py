"""Resource: what a worker makes before it claims tasks, and closes when the last has ended."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, cast

from castwork.model.errors import DefinitionError, NotOpen
from castwork.redis.portal import Portal
from castwork.redis.threads import in_thread

T = TypeVar("T")

logger = logging.getLogger(__name__)

_NOTHING: Any = object()


class Resource(Generic[T]):
    """A model, a pool, a client: made once per process that runs tasks, read as `resource.value`.

    Args:
        make: a coroutine function, a plain function, or a generator of either kind that yields the
            value once, and closes it behind that. Plain ones run in a thread.
        queues: names of the queues whose workers need it; None for all.
    """

    def __init__(self, make: Callable[[], Any], queues: Sequence[str] | None) -> None:
        self.name = getattr(make, "__name__", repr(make))
        self.queues = queues
        self._make = make
        self._value: T = _NOTHING
        self._fake: T = _NOTHING
        self._users = 0
        self._lock: asyncio.Lock | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._may_close = asyncio.Event()
        self._on_demand: _OnDemand | None = None
        self.__doc__ = make.__doc__

    def __repr__(self) -> str:
        return f"Resource({self.name!r})"

    @property
    def value(self) -> T:
        """What was made.

        Raises:
            NotOpen: no worker of this process has made it.
        """
        if self._fake is not _NOTHING:
            return self._fake
        if self._value is _NOTHING and _children.make_on_demand:
            self._make_here()
        if self._value is _NOTHING:
            whose = f"workers of {', '.join(self.queues)}" if self.queues else "workers"
            raise NotOpen(
                f"resource {self.name!r} is there in {whose} only, and once those declared before"
                " it are made; in tests use override(...)"
            )
        return self._value

    @contextmanager
    def override(self, fake: T) -> Iterator[None]:
        """Let `value` be something else inside of a block, as in a test; workers make nothing."""
        before, self._fake = self._fake, fake
        try:
            yield
        finally:
            self._fake = before

    # -- of child processes -------------------------------------------------------------

    def _make_here(self) -> None:
        """Make the value for code that asks for it, and wait until it is there."""
        if self._on_demand is None:
            self._on_demand = _OnDemand()
        making = _making.get()
        if self in making:
            names = " needs ".join(one.name for one in (*making[making.index(self) :], self))
            raise DefinitionError(f"resources cannot be made in a circle: {names}")
        on_demand = self._on_demand
        with on_demand.lock:
            if self._value is not _NOTHING:
                return
            token = _making.set((*making, self))
            try:
                on_demand.portal.run("value", self.open)
            finally:
                _making.reset(token)
            _children.made.append(self)

    def close_here(self) -> None:
        """Close what code has asked for; raises what the closing does."""
        assert self._on_demand is not None
        self._on_demand.portal.run("value", self.close)

    # -- of workers ---------------------------------------------------------------------

    def is_for(self, queues: Sequence[str]) -> bool:
        """Whether a worker of these queues needs it."""
        return self.queues is None or not set(self.queues).isdisjoint(queues)

    async def open(self) -> None:
        """Make the value, unless another worker of the process has. Raises what the maker does."""
        if self._lock is None or not (self._users or self._lock.locked()):
            self._lock = asyncio.Lock()  # of this event loop: the last one may have ended
        async with self._lock:
            if not self._users and self._fake is _NOTHING:
                await self._begin()
            self._users += 1

    async def close(self) -> None:
        """Close the value when the last worker has no use for it. Raises what the closing does."""
        assert self._lock is not None
        async with self._lock:
            self._users -= 1
            keeper, self._keeper = self._keeper, None if not self._users else self._keeper
            if not self._users and keeper is not None:
                self._may_close.set()
                try:
                    await keeper
                finally:
                    self._value = _NOTHING

    async def _begin(self) -> None:
        """Have one asyncio task make the value and close it, as what the maker enters may need."""
        made: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._may_close = asyncio.Event()
        self._keeper = keeper = asyncio.create_task(self._keep(made), name=f"resource {self.name}")
        try:
            waits: set[asyncio.Future[Any]] = {made, keeper}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            keeper.cancel()
            await asyncio.wait({keeper})  # what the maker has entered is left
            self._keeper = None
            raise
        if not made.done():
            self._keeper = None
            await keeper
            raise DefinitionError(f"resource {self.name!r} has yielded nothing")
        self._value = made.result()

    async def _keep(self, made: asyncio.Future[T]) -> None:
        make = self._make
        if inspect.isasyncgenfunction(make):
            await self._keep_async(make(), made)
        elif inspect.isgeneratorfunction(make):
            await self._keep_plain(make(), made)
        else:
            if inspect.iscoroutinefunction(make):
                made.set_result(await make())
            else:
                value = await in_thread(make, name=f"castwork-{self.name}")
                made.set_result(await value if inspect.isawaitable(value) else value)
            await self._may_close.wait()

    async def _keep_async(self, steps: AsyncGenerator[T, None], made: asyncio.Future[T]) -> None:
        try:
            async for value in steps:
                if made.done():
                    raise DefinitionError(f"resource {self.name!r} has yielded twice")
                made.set_result(value)
                await self._may_close.wait()
        finally:
            await steps.aclose()

    async def _keep_plain(self, steps: Generator[T, None, None], made: asyncio.Future[T]) -> None:
        thread = f"castwork-{self.name}"
        value = await in_thread(next, steps, _NOTHING, name=thread)
        if value is _NOTHING:
            return
        made.set_result(cast("T", value))
        await self._may_close.wait()
        if await in_thread(next, steps, _NOTHING, name=thread) is not _NOTHING:
            raise DefinitionError(f"resource {self.name!r} has yielded twice")


class _OnDemand:
    """Where a resource is made that code asks for: on an event loop of its own.

    What makes it may ask for another one, and wait for that.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.portal = Portal()


class _Children:
    """What a process that is a worker's child has made, in that order."""

    def __init__(self) -> None:
        self.make_on_demand = False
        self.made: list[Resource[Any]] = []


_children = _Children()

#: The resources that are being made, each for the one before it.
_making: ContextVar[tuple[Resource[Any], ...]] = ContextVar("castwork_making", default=())


def make_on_demand() -> None:
    """Have resources made when they are first asked for: this process is a worker's child."""
    _children.make_on_demand = True


def is_child() -> bool:
    """Whether this process is a worker's child."""
    return _children.make_on_demand


def close_made() -> None:
    """Close what was asked for, the last one first; what that raises is logged."""
    while _children.made:
        resource = _children.made.pop()
        try:
            resource.close_here()
        except Exception:
            logger.exception("closing resource %r failed", resource.name)


class Resources:
    """The resources of an app, in the order in which they were declared."""

    def __init__(self) -> None:
        self._all: list[Resource[Any]] = []

    def add(self, resource: Resource[Any]) -> None:
        """Add one; the same function, declared again, replaces what it was."""
        self._all = [one for one in self._all if one.name != resource.name] + [resource]

    async def open(self, queues: Sequence[str]) -> list[Resource[Any]]:
        """Make what a worker of some queues needs, one after the other.

        Raises what a maker raises; then what was made before is closed.
        """
        opened: list[Resource[Any]] = []
        try:
            for resource in self._all:
                if resource.is_for(queues):
                    await resource.open()
                    opened.append(resource)
        except BaseException:
            await self.close(opened)
            raise
        return opened

    async def close(self, opened: Sequence[Resource[Any]]) -> None:
        """Close resources, the last one first; all of them, then the first error is raised."""
        errors: list[BaseException] = []
        for resource in reversed(opened):
            try:
                await resource.close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
