"""Messages of clients over a socket: one verb each, with the channel or task that it names."""

from __future__ import annotations

from typing import Annotated

import msgspec

from castwork.gateway.requests import LONGEST_DELAY, LONGEST_KEY
from castwork.model.call_options import CallOptions
from castwork.model.errors import InvalidArguments
from castwork.model.states import Priority

VERBS = ("subscribe", "unsubscribe", "follow", "unfollow", "publish", "enqueue")


class Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One message of a client.

    Attributes:
        after: id of the last event that the client has; for `subscribe` and `follow`.
        event: the event, for `publish`.
        args: the arguments by name, for `enqueue`.
        priority: the lane that an enqueued task waits in.
        delay: seconds until an enqueued task is queued.
        key: idempotency key of a call; a second call with the same key answers with the task of
            the first call.
        cancel_on_disconnect: whether an enqueued task is cancelled when nobody follows it.
    """

    subscribe: str | None = None
    unsubscribe: str | None = None
    follow: str | None = None
    unfollow: str | None = None
    publish: str | None = None
    enqueue: str | None = None
    after: str | None = None
    event: msgspec.Raw = msgspec.Raw()
    args: msgspec.Raw = msgspec.Raw(b"{}")
    priority: Priority = Priority.NORMAL
    delay: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_DELAY)] = 0.0
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_KEY)] | None = None
    cancel_on_disconnect: bool = False

    @property
    def options(self) -> CallOptions:
        """The options of a call."""
        options: CallOptions = {"priority": self.priority, "delay": self.delay}
        if self.key is not None:
            options["key"] = self.key
        if self.cancel_on_disconnect:
            options["cancel_on_disconnect"] = True
        return options


_decode = msgspec.json.Decoder(Message).decode


def parse_message(text: str | bytes) -> tuple[str, str, Message]:
    """Read a message: its verb, the channel or task that the verb names, and the whole message.

    Raises:
        InvalidArguments: the text is not JSON, or has not exactly one verb.
    """
    try:
        message = _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidArguments(f"not a message: {error}") from error
    said = [(verb, name) for verb in VERBS if (name := getattr(message, verb)) is not None]
    if len(said) != 1:
        raise InvalidArguments(f"a message has one of: {', '.join(VERBS)}")
    return *said[0], message
