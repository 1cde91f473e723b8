"""Pydantic models on their way through JSON: the same on the other side, or refused by name."""

from __future__ import annotations

import math
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretStr,
    computed_field,
    field_serializer,
    field_validator,
)

from castwork.model.codec import encode_value
from castwork.model.errors import InvalidArguments, NoJsonForm
from castwork.model.signature import Signature


class Alias(BaseModel):
    user_id: int = Field(alias="userId")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.a


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    on: date
    parts: tuple[int, ...] = ()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Names(RootModel[list[str]]):
    pass


class Base64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Cache(BaseModel):
    a: int
    b: str = Field(default="none", exclude=True)


class Told(BaseModel):
    token: SecretStr

    @field_serializer("token")
    def tell(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Animal(BaseModel):
    name: str


class Dog(Animal):
    breed: str = "?"


class Owner(BaseModel):
    pet: Animal
    others: list[Animal] = []
    notes: Any = None


class Loss(BaseModel):
    value: float | None = None


class Secret(BaseModel):
    token: SecretStr


class Holder(BaseModel):
    inner: dict[str, list[Secret]]


class Binary(BaseModel):
    data: bytes


class TwoNames(BaseModel):
    a: int = Field(validation_alias="in", serialization_alias="out")


def sent(value: Any, kind: Any = None) -> Any:
    """The value as a task gets it."""

    def take(x: Any) -> None: ...

    take.__annotations__ = {"x": kind or type(value)}
    signature = Signature(take)
    return signature.caller(lambda x: x)(signature.decode(signature.encode((value,), {})))


@pytest.mark.parametrize(
    "value",
    [
        Alias(userId=1),
        Computed(a=1),
        Strict(on=date(2026, 1, 2), parts=(1, 2)),
        Open(extra=[1, "b"]),  # type: ignore[call-arg]
        Names(["a", "b"]),
        Base64(data=b"\xff"),
        Binary(data=b"plain"),
        Cache(a=1),
        Told(token=SecretStr("hunter2")),
        Owner(pet=Animal(name="Rex"), notes={"of": Animal(name="Tom")}),
        Loss(value=None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_model_arrives_as_it_was(value: BaseModel) -> None:
    came = sent(value)

    assert type(came) is type(value)
    assert came.model_dump() == value.model_dump()
    if isinstance(value, Told):
        assert came.token.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Secret(token=SecretStr("x")), r"Secret\.token is a secret"),
        (
            Holder(inner={"a": [Secret(token=SecretStr("x"))]}),
            r"Holder\.inner\['a'\]\[0\]\.token is a secret",
        ),
        (
            Owner(pet=Animal(name="Rex"), notes=Secret(token=SecretStr("x"))),
            r"Owner\.notes\.token is a secret",
        ),
        (Cache(a=1, b="kept"), r"Cache\.b is excluded"),
        (Owner(pet=Dog(name="Rex")), r"Owner\.pet is a Dog and comes back as a Animal"),
        (
            Owner(pet=Animal(name="Tom"), others=[Animal(name="a"), Dog(name="b")]),
            r"Owner\.others\[1\] is a Dog",
        ),
        (Binary(data=b"\xff"), "Binary: .*'base64'"),
        (TwoNames(**{"in": 1}), "TwoNames: its JSON form does not make it again: in: "),
        (Loss(value=math.nan), r"Loss: not a finite number at `\$\.value`"),
        (Open(extra=math.inf), r"Open\['extra'\] is inf"),  # type: ignore[call-arg]
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_loses_of_a_model_is_refused_by_its_name(value: BaseModel, says: str) -> None:
    with pytest.raises(NoJsonForm, match=says) as refused:
        encode_value({"deep": [value]})
    assert "\n" not in str(refused.value)

    with pytest.raises(InvalidArguments, match=says) as caught:
        sent(value)
    assert caught.value.field == "x"


def test_a_subclass_is_not_cut_to_what_the_function_declares() -> None:
    with pytest.raises(InvalidArguments, match="argument 'x' is a Dog") as caught:
        sent(Dog(name="Rex"), Animal)

    assert caught.value.field == "x"


class Picky(BaseModel):
    a: int

    @field_validator("a")
    @classmethod
    def small(cls, value: int) -> int:
        return {1: 1}[value]  # a KeyError, which Pydantic lets pass


def test_what_a_model_refuses_is_told_in_one_line_with_the_argument() -> None:
    def take(order: Alias, picky: Picky | None = None) -> None: ...

    for raw in (b'{"order":{"userId":"x"}}', b'{"order":{"userId":1},"picky":{"a":2}}'):
        with pytest.raises(InvalidArguments) as caught:
            Signature(take).decode(raw)
        assert caught.value.field in ("order", "picky")
        assert "\n" not in str(caught.value)


# -- unions ------------------------------------------------------------------------------


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Fish(BaseModel):
    kind: Literal["fish"] = "fish"
    fins: int = 2


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Cat | Fish, Fish(fins=3)),
        (Cat | str, "Tom"),
        (Cat | None, None),
        (Cat | Fish | None, None),
        (list[Cat | Fish], [Cat(), Fish()]),
        (dict[str, list[Cat | int]], {"a": [Cat(lives=1), 3]}),
        (Annotated[Cat | Fish, Field(discriminator="kind")], Fish()),
        (tuple[Cat | Fish, ...], (Fish(), Cat())),
    ],
    ids=str,
)
def test_unions_of_models_arrive_as_they_were(kind: Any, value: Any) -> None:
    assert sent(value, kind) == value


def test_a_value_of_no_part_of_a_union_is_refused() -> None:
    with pytest.raises(InvalidArguments) as caught:
        sent([1], list[Cat | Fish])

    assert caught.value.field == "x"
