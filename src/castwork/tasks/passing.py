"""Passing: the step of castwork's own that stands at the end of what is no single step.

A flow that ends with a list, or with the answer to a failure, has a last task all the same: one
that takes what is before it, and has that as its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from castwork.model.call_options import CallSettings
from castwork.model.errors import DefinitionError
from castwork.model.signature import Signature
from castwork.model.task_options import TaskSettings
from castwork.tasks.call import Call
from castwork.tasks.end_hooks import STEP
from castwork.tasks.flow import AllOf, Each, EachOf, Flow, Rescue, Then
from castwork.tasks.function import TaskFunction

#: Name of the function, in every queue.
PASS = STEP + ":pass"

#: Name of its argument.
VALUE = "value"

_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode

_Decode = Callable[[bytes], Any]


async def pass_on(value: Any) -> Any:
    """The function: what is before it is its result."""
    return value


class End(NamedTuple):
    """The function of the step that a flow ends with, and the options of its call."""

    function: TaskFunction[..., Any]
    settings: CallSettings


def end_of(flow: Flow[Any]) -> End:
    """What a flow ends with: of several side by side the first.

    Raises:
        DefinitionError: nothing is side by side.
    """
    while True:
        if isinstance(flow, Call):
            return End(flow.function, flow.settings())
        if isinstance(flow, Then):
            return End(flow.further.function, flow.further.function.call_settings)
        if isinstance(flow, EachOf):
            assert flow.further is not None
            return End(flow.further.function, flow.further.function.call_settings)
        if isinstance(flow, Rescue):
            flow = flow.before
        else:
            assert isinstance(flow, AllOf)
            if not flow.members:
                raise DefinitionError("all_of has got nothing to wait for")
            flow = flow.members[0]


def passing(flow: Flow[Any]) -> TaskFunction[..., Any]:
    """The function of the task behind a flow, in the queue of the step that the flow ends with.

    It belongs to whom that step belongs to, and its result has the flow's type.
    """
    function, told = end_of(flow)
    settings = TaskSettings(name=PASS, attempts=10, result_ttl=function.settings.result_ttl)
    made = function.beside(pass_on, Signature(pass_on), settings)
    made.call_settings = msgspec.structs.replace(
        settings.call_settings,
        result_ttl=told.result_ttl or function.settings.result_ttl,
        owner=told.owner,
        tenant=told.tenant,
        labels=told.labels,
        headers=told.headers,
    )
    made.decode_result = _decoder(flow)
    return made


def _decoder(flow: Flow[Any]) -> _Decode:
    """Decodes the result of a flow."""
    if isinstance(flow, Rescue):
        return _either(_decoder(flow.before), flow.further.function.decode_result)
    if not isinstance(flow, Each):
        return end_of(flow).function.decode_result
    if isinstance(flow, EachOf):
        assert flow.further is not None
        decode = flow.further.function.decode_result
        return lambda raw: [_item(decode, one, flow) for one in _raws(raw)]
    assert isinstance(flow, AllOf)
    decoders = [_decoder(member) for member in flow.members]
    made: Callable[[Sequence[Any]], Any] = tuple if flow.is_tuple else list
    return lambda raw: made(
        [_item(decode, one, flow) for decode, one in zip(decoders, _raws(raw), strict=True)]
    )


def _item(decode: _Decode, raw: msgspec.Raw, among: Each[Any]) -> Any:
    item = bytes(raw)
    return None if item == b"null" and among.goes_on else decode(item)


def _either(usual: _Decode, other: _Decode) -> _Decode:
    """Decodes what is of the one type or, where it is not, of the other."""

    def decode(raw: bytes) -> Any:
        try:
            return usual(raw)
        except Exception:  # whatever a type's own code raises
            return other(raw)

    return decode
