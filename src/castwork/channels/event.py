"""What a subscriber gets: events as typed values, and a notice when events are missing."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from castwork.model.codec import encode_value, load_foreign
from castwork.model.errors import DefinitionError, InvalidArguments, PayloadTooLarge
from castwork.model.signature import field_of

E = TypeVar("E")


class Resync(msgspec.Struct, frozen=True):
    """Events were missed, and are not kept any more: read anew the state that they change.

    Attributes:
        channel: name of the channel.
        after: id of the last event before the gap; empty where events have no ids.
    """

    channel: str
    after: str = ""


class Delivered(msgspec.Struct, Generic[E], frozen=True):
    """An event with its id.

    Attributes:
        id: position in the history, empty on a channel without history.
        value: the event.
    """

    id: str
    value: E


class EventCodec(Generic[E]):
    """Encodes and checks the events of one channel.

    Args:
        channel: for error texts.
        kind: type of the events; `Any` for unchecked JSON.
        limit: bytes that an event may have.

    Raises:
        DefinitionError: the type has no JSON form.
    """

    def __init__(self, channel: str, kind: type[E], limit: int) -> None:
        self.kind = kind
        self._channel = channel
        self._limit = limit
        try:
            self._decode = msgspec.json.Decoder(kind, dec_hook=load_foreign).decode
        except TypeError as error:
            raise DefinitionError(
                f"channel {channel!r}: {kind} has no JSON form: {error}"
            ) from error

    def encode(self, event: E) -> bytes:
        """Encode an event, and check it as a subscriber will.

        Raises:
            InvalidArguments: the event is not of the channel's type, or has no JSON form.
            PayloadTooLarge: the event is over the limit.
        """
        try:
            raw = encode_value(event)
        except TypeError as error:
            raise InvalidArguments(f"channel {self._channel!r}: {error}") from error
        if len(raw) > self._limit:
            raise PayloadTooLarge(f"an event of channel {self._channel!r}", len(raw), self._limit)
        self.decode(raw)
        return raw

    def decode(self, raw: bytes) -> E:
        """Decode an event.

        Raises:
            InvalidArguments: the event is not of the channel's type; `field` names the culprit.
        """
        try:
            return self._decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._invalid(error) from error

    def convert(self, value: Any) -> E:
        """Check plain values, as they come over HTTP.

        Raises:
            InvalidArguments: the values are not of that type; `field` names the culprit.
        """
        try:
            return msgspec.convert(value, self.kind, dec_hook=load_foreign)
        except (msgspec.ValidationError, ValueError) as error:
            raise self._invalid(error) from error

    def _invalid(self, error: Exception) -> InvalidArguments:
        text = str(error)
        return InvalidArguments(f"channel {self._channel!r}: {text}", field=field_of(text))
