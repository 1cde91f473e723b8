"""What a subscriber gets: events as typed values, and a notice when events are missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from castwork.model.codec import encode_value
from castwork.model.errors import InvalidArguments, NoJsonForm, PayloadTooLarge
from castwork.model.foreign import is_model, load_foreign
from castwork.model.json_types import make_decoder, prepare_type
from castwork.model.losses import find_loss
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
        owner: whose events they are, for error texts, as `channel 'models'`.
        kind: type of the events; `Any` for unchecked JSON.
        limit: bytes that an event may have.

    Raises:
        DefinitionError: the type has no JSON form.
    """

    def __init__(self, owner: str, kind: type[E], limit: int) -> None:
        self.kind = kind
        self._owner = owner
        self._limit = limit
        self._decode: Callable[[bytes], E] = make_decoder(kind, owner)
        self._ready = prepare_type(kind, owner)

    def encode(self, event: E) -> bytes:
        """Encode an event, and check it as a subscriber will.

        Raises:
            InvalidArguments: the event is not of the channel's type, or has no JSON form.
            PayloadTooLarge: the event is over the limit.
        """
        try:
            raw = encode_value(event)
        except NoJsonForm as error:
            raise self._invalid(error) from error
        if len(raw) > self._limit:
            raise PayloadTooLarge(f"an event of {self._owner}", len(raw), self._limit)
        decoded = self.decode(raw)
        if is_model(self.kind) and (loss := find_loss(event, decoded)):
            raise InvalidArguments(f"{self._owner}: {type(event).__name__}{loss}")
        return raw

    def decode(self, raw: bytes) -> E:
        """Decode an event.

        Raises:
            InvalidArguments: the event is not of the channel's type; `field` names the culprit.
        """
        try:
            return self._decode(raw)
        except Exception as error:  # of msgspec, or of a type's own code
            raise self._invalid(error) from error

    def convert(self, value: Any) -> E:
        """Check plain values, as they come over HTTP.

        Raises:
            InvalidArguments: the values are not of that type; `field` names the culprit.
        """
        try:
            converted: E = msgspec.convert(value, self._ready, dec_hook=load_foreign)
            return converted
        except Exception as error:  # of msgspec, or of a type's own code
            raise self._invalid(error) from error

    def _invalid(self, error: Exception) -> InvalidArguments:
        text = str(error)
        return InvalidArguments(f"{self._owner}: {text}", field=field_of(text))
