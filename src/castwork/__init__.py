"""One Redis, two verbs: publish what everyone must hear, enqueue what one worker must do."""

from castwork.app import App
from castwork.channels.channel import Channel
from castwork.channels.event import Delivered, Resync
from castwork.channels.receipt import Applied, Receipt
from castwork.channels.setting import Setting
from castwork.model.errors import CastworkError, Discard, Retry
from castwork.model.retry import Backoff
from castwork.model.settings import AppSettings, Limits, LinkSettings
from castwork.model.states import TaskState
from castwork.tasks.attempt import Context, current
from castwork.tasks.chunks import Chunk
from castwork.tasks.function import TaskFunction
from castwork.tasks.task import Task

__version__ = "0.1.0"

__all__ = [
    "App",
    "AppSettings",
    "Applied",
    "Backoff",
    "CastworkError",
    "Channel",
    "Chunk",
    "Context",
    "Delivered",
    "Discard",
    "Limits",
    "LinkSettings",
    "Receipt",
    "Resync",
    "Retry",
    "Setting",
    "Task",
    "TaskFunction",
    "TaskState",
    "current",
]
