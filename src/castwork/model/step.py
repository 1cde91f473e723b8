"""Step: what a task of a flow knows of the tasks before and behind it."""

from __future__ import annotations

import msgspec


class Taken(msgspec.Struct, omit_defaults=True):
    """Whose results a step takes as its first argument when it begins.

    Attributes:
        param: name of that argument.
        of: ids of the tasks.
        prefix: or what stands before the numbers from 0 on that end their ids.
        count: how many those are; -1 for as many as the task before them has made.
        maker: the task that makes them, where `count` is -1.
        is_list: whether the argument is the list of the results; else the one result.
        instead: the task whose result is taken in their stead, where it has succeeded: the one that
            answers a failure; empty for none.
    """

    param: str
    of: list[str] = []
    prefix: str = ""
    count: int = 0
    maker: str = ""
    is_list: bool = False
    instead: str = ""

    def before(self, arrived: int) -> list[str]:
        """The ids of all tasks that the step waits for, or may wait for."""
        others = [one for one in (self.maker, self.instead) if one]
        return [*others, *self.ids(arrived)]

    def ids(self, arrived: int) -> list[str]:
        """The ids of the tasks, of which so many have arrived."""
        if not self.prefix:
            return self.of
        count = self.count if self.count >= 0 else arrived
        return [f"{self.prefix}{number}" for number in range(count)]


class Later(msgspec.Struct, omit_defaults=True):
    """A call that becomes a task only when it is known what its first argument is.

    Attributes:
        task: name of the function.
        id: the task's id.
        param: name of the first argument.
        args: the further arguments as JSON.
        priority: the lane.
        attempts, timeout: in place of the function's own; 0 for those.
        until: seconds since 1970 after which nobody wants the task; 0 for no bound.
        owner, tenant: whose the task is; empty for those of the step before.
        labels, headers: as of a call.
        parent: id of the task whose code enqueued the flow.
    """

    task: str
    id: str
    param: str
    args: str
    priority: str
    attempts: int = 0
    timeout: float = 0.0
    until: float = 0.0
    owner: str = ""
    tenant: str = ""
    labels: dict[str, str] = {}
    headers: dict[str, str] = {}
    parent: str = ""


class Fan(Later, omit_defaults=True):
    """The tasks that a step makes when it has succeeded: one for each item of its result.

    Attributes:
        id: what stands before the numbers from 0 on that end their ids.
        goes_on: whether one that fails counts as arrived.
    """

    goes_on: bool = False


class Step(msgspec.Struct, omit_defaults=True):
    """The place of a task in a flow.

    Attributes:
        next: id of the task that waits for this one; empty for the last.
        place: its number among those that `next` waits for.
        of: how many `next` waits for.
        goes_on: whether `next` goes on where this task fails.
        takes: whose results it takes; None for those that begin a flow.
        fan: the tasks that it makes when it has succeeded, for which `next` waits; None for none.
        rescue: the call that answers a failure before it, and for whose task it waits then; None
            where such a failure fails it.
        cause: of a step that failed as one before it did not succeed: the id of that one.
        was_cancelled: whether that one was cancelled, which is no failure to be answered.
    """

    next: str = ""
    place: int = 0
    of: int = 1
    goes_on: bool = False
    takes: Taken | None = None
    fan: Fan | None = None
    rescue: Later | None = None
    cause: str = ""
    was_cancelled: bool = False
