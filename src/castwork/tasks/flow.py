"""Flow: work in steps, each of which is a task; nothing is enqueued yet."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    TypeVar,
    overload,
)

from castwork.model.errors import DefinitionError
from castwork.redis.portal import portal

if TYPE_CHECKING:
    from castwork.model.record import TaskStatus
    from castwork.tasks.function import TaskFunction
    from castwork.tasks.task import Task

R_co = TypeVar("R_co", covariant=True)
R2 = TypeVar("R2")
T = TypeVar("T")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
P2 = ParamSpec("P2")


class Further(NamedTuple):
    """A function that takes a result, and its further arguments.

    Attributes:
        function: the task function, with the options of its call.
        args, kwargs: the arguments behind the first.
    """

    function: TaskFunction[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Flow(Generic[R_co]):
    """Steps that are not enqueued yet; each is an ordinary task, in any queue of castwork's own."""

    __slots__ = ()

    def then(
        self,
        function: TaskFunction[Concatenate[R_co, P2], R2],
        /,
        *args: P2.args,
        **kwargs: P2.kwargs,
    ) -> Flow[R2]:
        """The flow, and behind it a call whose first argument is its result.

        Args:
            function: a task function, also with `options(...)`.
            args, kwargs: its further arguments.
        """
        return Then(self, Further(function, args, kwargs))

    def then_each(
        self: Flow[Sequence[T]],
        function: TaskFunction[Concatenate[T, P2], R2],
        /,
        *args: P2.args,
        **kwargs: P2.kwargs,
    ) -> Each[R2]:
        """The flow, and behind it one call for each item of its result, which is a list.

        Args: as of `then`.
        """
        return EachOf(self, Further(function, args, kwargs))

    def on_failure(
        self,
        function: TaskFunction[Concatenate[TaskStatus, P2], R2],
        /,
        *args: P2.args,
        **kwargs: P2.kwargs,
    ) -> Flow[R_co | R2]:
        """The flow, and a call that answers where a step of it does not succeed.

        Its first argument is the `TaskStatus` of that step, and its result stands in for that of
        the whole flow before it. It is called once, for the first such step; what else ran goes on
        to its end. A cancel is no failure, and a failure of the call itself fails what follows.

        Args: as of `then`.
        """
        return Rescue(self, Further(function, args, kwargs))

    async def enqueue(self) -> Task[R_co]:
        """Enqueue the steps; the handle is on the last one, which waits as `scheduled`.

        When it returns, the server has them all. A step that does not succeed fails those that
        wait for it, unless `keep_going()` or `on_failure(...)` says else; a cancel of the last
        cancels what waits before it. A step waits for 30 days at most. Behind a list, or an
        `on_failure`, the last one is a task of castwork's own that has their result.

        Raises:
            DefinitionError: a step cannot be one.
            InvalidArguments: the arguments of a step do not fit its function.
            QueueFull, PayloadTooLarge, ConnectionFailed: as of an enqueue. Steps that were enqueued
                by then are cancelled, but for those that a worker has begun.
        """
        task: Task[R_co] = await _enqueue(self)
        return task

    def enqueue_sync(self) -> Task[R_co]:
        """`enqueue` for callers without an event loop; raises as it, and WouldBlock."""
        task: Task[R_co] = portal.run("enqueue", lambda: _enqueue(self, on_portal=True))
        return task


class Each(Flow[list[R_co]], Generic[R_co]):
    """Steps side by side, whose results are a list."""

    __slots__ = ("before", "further", "goes_on", "members")

    before: Flow[Any] | None
    further: Further | None
    members: tuple[Flow[Any], ...]
    goes_on: bool

    def keep_going(self) -> Each[R_co | None]:
        """The same, where a step that fails does not fail what follows: its result is None."""
        made: Each[R_co | None] = copy.copy(self)
        made.goes_on = True
        return made


class Then(Flow[Any]):
    """A step behind others."""

    __slots__ = ("before", "further")

    def __init__(self, before: Flow[Any], further: Further) -> None:
        self.before = before
        self.further = further


class Rescue(Flow[Any]):
    """A step that answers failures of those before it."""

    __slots__ = ("before", "further")

    def __init__(self, before: Flow[Any], further: Further) -> None:
        self.before = before
        self.further = further


class EachOf(Each[Any]):
    """A step for each item of a result."""

    __slots__ = ()

    def __init__(self, before: Flow[Any], further: Further) -> None:
        self.before, self.further, self.members, self.goes_on = before, further, (), False


class AllOf(Each[Any]):
    """Flows side by side; where they were given one by one, their results are a tuple."""

    __slots__ = ("is_tuple",)

    def __init__(self, members: tuple[Flow[Any], ...], *, is_tuple: bool) -> None:
        self.before, self.further, self.members, self.goes_on = None, None, members, False
        self.is_tuple = is_tuple


@overload
def all_of(flows: Iterable[Flow[T]], /) -> Each[T]: ...
@overload
def all_of(a: Flow[T], b: Flow[T2], /) -> Flow[tuple[T, T2]]: ...
@overload
def all_of(a: Flow[T], b: Flow[T2], c: Flow[T3], /) -> Flow[tuple[T, T2, T3]]: ...


def all_of(*flows: Any) -> Any:
    """Calls or flows side by side; what follows takes the list of their results.

    Args:
        flows: an iterable of them; or two or three, whose results are then a typed tuple.

    Raises:
        DefinitionError: one of them is no call and no flow.
    """
    is_tuple = len(flows) != 1 or isinstance(flows[0], Flow)
    members = flows if is_tuple else tuple(flows[0])
    for one in members:
        if not isinstance(one, Flow):
            raise DefinitionError(f"all_of takes calls and flows, not {one!r:.60}")
    return AllOf(members, is_tuple=is_tuple)


async def _enqueue(flow: Flow[Any], *, on_portal: bool = False) -> Any:
    from castwork.tasks.steps import enqueue_flow  # noqa: PLC0415 - it needs the calls, which are flows

    return await enqueue_flow(flow, on_portal=on_portal)
