"""Signature: turns a task function's arguments into JSON and back, checked both ways."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from enum import Enum
from typing import Any

import msgspec

from castwork.model.codec import decode_any, encode_value
from castwork.model.defaults import own_default
from castwork.model.errors import DefinitionError, InvalidArguments, NoJsonForm
from castwork.model.foreign import is_model, load_foreign
from castwork.model.json_types import prepare_type
from castwork.model.losses import find_loss

#: What plain functions return whose items are chunks.
_PLAIN_ITERATORS = (Iterator, Generator)

#: What functions return whose items are chunks.
_ITERATORS = (AsyncIterator, AsyncGenerator, AsyncIterable)


class Kind(Enum):
    """How a task function is called."""

    COROUTINE = "coroutine"
    GENERATOR = "generator"
    THREAD = "thread"
    BATCH = "batch"


class Signature:
    """Binds, checks, encodes and decodes the arguments of one function.

    A struct with one field per parameter is made once, so that one call into msgspec decodes and
    validates a task's arguments.

    Args:
        function: the function. Parameters need names and, for checking, annotations.
        is_batch: whether it takes a list of items and returns one of results: then a call is one
            item, and gets one result.

    Raises:
        DefinitionError: the signature has `*args` or `**kwargs`, or a type that has no
            JSON form.
    """

    def __init__(self, function: Callable[..., Any], *, is_batch: bool = False) -> None:
        self.kind = kind_of(function)
        try:
            self._signature = inspect.signature(function)
        except ValueError as error:
            raise DefinitionError(f"task function {function.__name__!r}: {error}") from error
        hints = _hints(function)
        if is_batch:
            hints = self._of_one(function.__name__, hints)
        self._is_plain = _is_plain_generator(function, hints.get("return"))
        self.returns: Any = hints.get("return", Any)
        self._hints = hints
        self._names = list(self._signature.parameters)
        self._keyword_only = [
            p.name for p in self._signature.parameters.values() if p.kind is p.KEYWORD_ONLY
        ]
        self.struct = self._make_struct(function.__name__, hints)
        plain_names = not (self._keyword_only or any(map(_is_mangled, self._names)))
        self._call = self._make_call(function.__name__) if plain_names else None
        self._models = [
            (at, name) for at, name in enumerate(self._names) if is_model(hints.get(name))
        ]
        self._decode = msgspec.json.Decoder(self.struct, dec_hook=load_foreign).decode

    def _of_one(self, name: str, hints: Mapping[str, Any]) -> dict[str, Any]:
        """The types of one item and its result, of a function that takes and returns lists."""
        parameters = list(self._signature.parameters)
        if self.kind is not Kind.COROUTINE or len(parameters) != 1:
            raise DefinitionError(
                f"batch function {name!r}: write async def {name}(items: list[...]) -> list[...]:"
                " one list in, one as long out; what blocks goes into asyncio.to_thread"
            )
        self.kind = Kind.BATCH
        given, returned = hints.get(parameters[0], Any), hints.get("return", Any)
        return {
            parameters[0]: _item_of(given, f"batch function {name!r}, its parameter"),
            "return": _item_of(returned, f"batch function {name!r}, its result"),
        }

    def _make_struct(self, name: str, hints: Mapping[str, Any]) -> type[msgspec.Struct]:
        fields: list[Any] = []
        for parameter in self._signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise DefinitionError(
                    f"task function {name!r}: *args and **kwargs cannot be checked or sent;"
                    " name the parameters"
                )
            what = f"task function {name!r}, parameter {parameter.name!r}"
            field = [
                _field_name(parameter.name),
                prepare_type(hints.get(parameter.name, Any), what),
            ]
            if parameter.default is not parameter.empty:
                field.append(own_default(parameter.default, what))
            fields.append(tuple(field))
        renamed = {_field_name(one): one for one in self._names if _is_mangled(one)}
        try:
            return msgspec.defstruct(
                f"{name}_args", fields, kw_only=True, forbid_unknown_fields=True, rename=renamed
            )
        except Exception as error:
            raise DefinitionError(f"task function {name!r}: {error}") from error

    def _make_call(self, name: str) -> type[msgspec.Struct]:
        """A struct that binds a call's arguments as Python would, at a tenth of the cost.

        Defaults are left out of the JSON, so that the worker's defaults count.
        """
        fields: list[Any] = [
            (parameter.name, Any)
            if parameter.default is parameter.empty
            else (parameter.name, Any, msgspec.UNSET)
            for parameter in self._signature.parameters.values()
        ]
        return msgspec.defstruct(f"{name}_call", fields)

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Bind a call's arguments, encode them by name, and check them as the worker will.

        Raises:
            InvalidArguments: the arguments do not fit the signature or have no JSON form; `field`
                names the culprit.
        """
        bound: Any
        try:
            if self._call is not None:
                bound = self._call(*args, **kwargs)
            else:
                bound = self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise InvalidArguments(str(error), field=field_of(str(error))) from error
        try:
            raw = encode_value(bound)
        except NoJsonForm as error:
            raise self._named(error, args, kwargs) from error
        decoded = self.decode(raw)
        if self._models:
            self._refuse_losses(decoded, args, kwargs)
        return raw

    def _named(
        self, error: NoJsonForm, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> InvalidArguments:
        """The error for arguments without a JSON form, with the argument's name."""
        for name, value in self._signature.bind(*args, **kwargs).arguments.items():
            try:
                encode_value(value)
            except NoJsonForm as own:
                return InvalidArguments(f"argument {name!r}: {own}", field=name)
        return InvalidArguments(str(error))  # each by itself has a form, as when all are too deep

    def _refuse_losses(
        self, decoded: msgspec.Struct, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Refuse arguments of which the declared models keep only a part."""
        given = self._signature.bind(*args, **kwargs).arguments
        made = msgspec.structs.astuple(decoded)
        for at, name in self._models:
            if name in given and (loss := find_loss(given[name], made[at])):
                raise InvalidArguments(f"argument {name!r}{loss}", field=name)

    def decode(self, raw: bytes) -> msgspec.Struct:
        """Decode and validate arguments.

        Raises:
            InvalidArguments: the arguments are not JSON, or do not fit; `field` names the culprit.
        """
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            if raw.strip() == b"[]":  # how PHP writes an object without members
                return self.decode(b"{}")
            raise InvalidArguments(str(error), field=field_of(str(error))) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArguments(f"the arguments are not JSON: {error}") from error
        except Exception as error:  # whatever a validator of the user's own raises
            raise _refused(error) from error

    def decode_text(self, raw: bytes) -> msgspec.Struct:
        """Decode the arguments of an adopted entry, whose fields are all text.

        Numbers, booleans and times are read from their text, lists and objects from JSON;
        fields that are no parameters are left out.

        Raises:
            InvalidArguments: the arguments do not fit; `field` names the culprit.
        """
        try:
            named = decode_any(raw)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise InvalidArguments(f"the arguments are not JSON: {error}") from error
        return self.convert(
            {name: self._from_text(name, named[name]) for name in self._names if name in named},
            strict=False,
        )

    def _from_text(self, name: str, value: Any) -> Any:
        looks_like_json = isinstance(value, str) and value[:1] in ("[", "{")
        if looks_like_json and not _takes_text(self._hints.get(name)):
            try:
                return decode_any(value)
            except (msgspec.DecodeError, ValueError, RecursionError):
                return value
        return value

    def convert(self, named: Mapping[str, Any], *, strict: bool = True) -> msgspec.Struct:
        """Validate arguments given as plain values; text is converted when not `strict`.

        Raises:
            InvalidArguments: the arguments do not fit; `field` names the culprit.
        """
        try:
            return msgspec.convert(named, self.struct, strict=strict, dec_hook=load_foreign)
        except msgspec.ValidationError as error:
            raise InvalidArguments(str(error), field=field_of(str(error))) from error
        except Exception as error:  # whatever a validator of the user's own raises
            raise _refused(error) from error

    def caller(self, function: Callable[..., Any]) -> Callable[[msgspec.Struct], Any]:
        """Return a callable that calls the function with decoded arguments."""
        as_tuple = msgspec.structs.astuple
        if not self._keyword_only:
            return lambda arguments: function(*as_tuple(arguments))
        positional = len(self._names) - len(self._keyword_only)
        names = self._names[positional:]

        def call(arguments: msgspec.Struct) -> Any:
            values = as_tuple(arguments)
            named = dict(zip(names, values[positional:], strict=True))
            return function(*values[:positional], **named)

        return call

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters, in order."""
        return list(self._names)

    @property
    def required(self) -> list[str]:
        """Names of the parameters without a default, in order."""
        given = self._signature.parameters.values()
        return [parameter.name for parameter in given if parameter.default is parameter.empty]

    def json_schema(self) -> dict[str, Any]:
        """The arguments as JSON Schema; empty where a type has none."""
        try:
            return msgspec.json.schema(self.struct)
        except TypeError:
            return {}

    @property
    def is_plain(self) -> bool:
        """Whether a thread iterates over the items of a function that streams."""
        return self.kind is Kind.GENERATOR and self._is_plain

    @property
    def joins_text(self) -> bool:
        """Whether the chunks are text, so that the result is the joined text."""
        if self.kind is not Kind.GENERATOR:
            return False
        return typing.get_args(self.returns)[:1] == (str,)

    @property
    def item_type(self) -> Any:
        """The type of the chunks of a function that streams."""
        items = typing.get_args(self.returns)
        return items[0] if items else Any

    def result_type(self) -> Any:
        """The type of the result, for the caller who decodes it."""
        if self.kind is not Kind.GENERATOR:
            return Any if self.returns is None else self.returns
        item = self.item_type
        return str if item is str else typing.cast("Any", list)[item]


def kind_of(function: Callable[..., Any]) -> Kind:
    """Tell how to call a function.

    Decorators often leave a plain function around one that is not: then its annotations tell, or
    the function inside.
    """
    if inspect.isasyncgenfunction(inspect.unwrap(function)):
        return Kind.GENERATOR
    returns = _hints(function).get("return")
    if (typing.get_origin(returns) or returns) in _ITERATORS:
        return Kind.GENERATOR
    if inspect.iscoroutinefunction(function):
        return Kind.COROUTINE
    return Kind.GENERATOR if _is_plain_generator(function, returns) else Kind.THREAD


def _is_plain_generator(function: Callable[..., Any], returns: Any) -> bool:
    """Whether a function that is not async returns an iterator, of which each item is a chunk."""
    if inspect.isgeneratorfunction(inspect.unwrap(function)):
        return True
    return (typing.get_origin(returns) or returns) in _PLAIN_ITERATORS


def _item_of(kind: Any, what: str) -> Any:
    """The type of the items of a list."""
    if kind is Any:
        return Any
    if (typing.get_origin(kind) or kind) not in (list, Sequence):
        raise DefinitionError(f"{what} is {kind}: annotate a list, list[...]")
    items = typing.get_args(kind)
    return _without_exceptions(items[0]) if items else Any


def _without_exceptions(kind: Any) -> Any:
    """A type without the exceptions that stand for items which failed."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    kept = [
        part
        for part in typing.get_args(kind)
        if not (isinstance(part, type) and issubclass(part, BaseException))
    ]
    return typing.Union[tuple(kept)] if kept else Any  # noqa: UP007 - of parts known at run time


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:  # annotations are evaluated, and may raise anything
        raise DefinitionError(
            f"task function {function.__name__!r}: {error}; annotations of task functions"
            " must be importable at run time"
        ) from error


def _takes_text(hint: Any) -> bool:
    """Whether a parameter takes text, so that text which looks like JSON must stay text."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, typing.Annotated):
        return any(_takes_text(part) for part in typing.get_args(hint))
    return hint is str


def _is_mangled(name: str) -> bool:
    """Whether Python gives such a name another form inside of a class."""
    return name.startswith("__") and not name.endswith("__")


def _field_name(parameter: str) -> str:
    """The name of a parameter's field in the struct of the arguments."""
    return f"mangled{parameter}" if _is_mangled(parameter) else parameter


def _refused(error: Exception) -> InvalidArguments:
    """The error for arguments that the user's own validation does not take."""
    return InvalidArguments(f"the arguments were refused: {type(error).__name__}: {error}")


def field_of(message: str) -> str:
    """Find the argument or field that a message of msgspec or of Python names.

    As in "... - at `$.prompt`", "... field `prompt`", "... argument: 'prompt'".
    """
    if "`$." in message:
        return message.rpartition("`$.")[2].rstrip("`").split(".")[0].split("[")[0]
    if "field `" in message:
        return message.partition("field `")[2].partition("`")[0]
    found = re.search(r"argument:? '([^']+)'", message)
    return found[1] if found else ""
