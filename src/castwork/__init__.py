"""One Redis, two verbs: publish what everyone must hear, enqueue what one worker must do."""

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.channels.event import Delivered, Resync
from castwork.channels.receipt import Applied, Receipt
from castwork.channels.setting import Setting
from castwork.model.batch import Batch
from castwork.model.chunk import Chunk
from castwork.model.credentials import Credentials
from castwork.model.errors import (
    CastworkError,
    KeyConflict,
    LockTimeout,
    NotEnded,
    OutputReset,
    PartlyEnqueued,
    ProcessDied,
    QueueFull,
    RemoteTraceback,
    ResultTimeout,
    TaskCancelled,
    TaskDead,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskNotFound,
)
from castwork.model.limits import AtOnce, Rate
from castwork.model.record import AttemptStatus, StepStatus, TaskStatus
from castwork.model.retry import Backoff
from castwork.model.schedules import Cron, Every
from castwork.model.settings import AppSettings, Limits, LinkSettings
from castwork.model.signals import Discard, Retry
from castwork.model.states import TaskState
from castwork.tasks.call import Call
from castwork.tasks.chain import Proceed, ProceedSync
from castwork.tasks.context import Context, current
from castwork.tasks.dead_choice import DeadGroup
from castwork.tasks.dead_letters import DeadLetter, DeadLetters
from castwork.tasks.flow import Each, Flow, all_of
from castwork.tasks.function import TaskFunction
from castwork.tasks.kinds import BatchFunction, CoroutineFunction, PlainFunction, StreamFunction
from castwork.tasks.lock import Lock
from castwork.tasks.queue import Queue
from castwork.tasks.resource import Resource
from castwork.tasks.schedule import Schedule
from castwork.tasks.task import StreamTask, Task

__version__ = "0.1.0"

__all__ = [
    "App",
    "AppSettings",
    "Applied",
    "AtOnce",
    "AttemptStatus",
    "Backoff",
    "Batch",
    "BatchFunction",
    "Call",
    "CastworkError",
    "Channel",
    "Chunk",
    "Context",
    "CoroutineFunction",
    "Credentials",
    "Cron",
    "DeadGroup",
    "DeadLetter",
    "DeadLetters",
    "Delivered",
    "Discard",
    "Each",
    "Every",
    "Flow",
    "KeyConflict",
    "Limits",
    "LinkSettings",
    "Lock",
    "LockTimeout",
    "NotEnded",
    "OutputReset",
    "PartlyEnqueued",
    "PlainFunction",
    "Proceed",
    "ProceedSync",
    "ProcessDied",
    "Queue",
    "QueueFull",
    "Rate",
    "Receipt",
    "RemoteTraceback",
    "Resource",
    "ResultTimeout",
    "Resync",
    "Retry",
    "Schedule",
    "Setting",
    "StepStatus",
    "StreamFunction",
    "StreamTask",
    "Task",
    "TaskCancelled",
    "TaskDead",
    "TaskError",
    "TaskExpired",
    "TaskFailed",
    "TaskFunction",
    "TaskNotFound",
    "TaskState",
    "TaskStatus",
    "all_of",
    "current",
]
