"""Submission: how the calls of an app's functions get into their queues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from castwork.model.call_options import CallSettings
from castwork.tasks.chain import Chain
from castwork.tasks.end_hooks import EndHooks
from castwork.tasks.producer import Producer
from castwork.tasks.task import Task


class Submission(msgspec.Struct):
    """How calls of a function get into its queue.

    Attributes:
        producer: enqueues; it has a twin for callers without an event loop.
        find_producer: the producer of the queue of a name; raises DefinitionError.
        around: the wrappers that are called around each enqueue.
        hooks: what is called when tasks have ended.
        elsewhere: takes the calls in the queue's stead, in tests without a server.
    """

    producer: Producer
    find_producer: Callable[[str], Producer]
    around: Chain
    hooks: EndHooks
    elsewhere: Elsewhere


class Elsewhere(msgspec.Struct):
    """Where the calls of an app go instead of its queues; shared by all its functions.

    Attributes:
        submit: takes a function, the options of a call and its arguments as JSON; None for queues.
    """

    submit: Callable[[Any, CallSettings, bytes], Awaitable[Task[Any]]] | None = None
