"""The page on the wire format names all there is, by the names that the code uses."""

from __future__ import annotations

import re

import msgspec
import pytest
from tests.docs.pages import DOCS, codes, prose, rows, sections

from castwork.channels.membership import MemberPosition
from castwork.model.chunk import RESET
from castwork.model.entry import Meta
from castwork.model.ids import parse_made_id
from castwork.model.position import Position
from castwork.model.queue import Queue, adopted_queue
from castwork.model.record import FORMAT, ErrorInfo, Record
from castwork.model.worker_info import WorkerInfo
from castwork.store import scripts
from castwork.store.keys import RESERVED_PREFIXES, ChannelKeys, LockKeys, QueueKeys, WorkerKeys
from castwork.store.letter import Letter
from castwork.store.scripts import Script

PAGE = DOCS / "reference" / "wire-format.md"


def _names(keys: QueueKeys | ChannelKeys | WorkerKeys) -> list[str]:
    """The names of keys that an object holds."""
    return [value for value in vars(keys).values() if isinstance(value, str)]


def test_every_key_of_a_queue_is_documented() -> None:
    keys = QueueKeys.of("cw", Queue("QUEUE"))
    named = {code for row in rows(sections(PAGE)["Keys of a queue"]) for code in codes(row[0])}
    for name in _names(keys):
        # Of names that something is added to, the page shows the whole.
        assert any(one == name or one.startswith(name) for one in named), name
    whole = [keys.record("ID"), keys.output("ID"), keys.told("PRODUCER"), keys.told("")]
    assert [name for name in whole if name not in named] == []
    lanes = [lane.removeprefix(keys.prefix) for lane in keys.own.values()]
    assert f"{keys.prefix}{lanes[0]}" in named
    assert [lane for lane in lanes[1:] if f":{lane.rpartition(':')[2]}" not in named] == []


def test_names_built_of_parts_are_documented() -> None:
    text = prose(PAGE)
    assert f"`{QueueKeys.of('cw', Queue('inference')).key('infer', '', 'order-7')}`" in text
    assert f"`{QueueKeys.of('cw', adopted_queue('STREAM', 'GROUP')).prefix}`" in text
    tagged = QueueKeys.of("cw", adopted_queue("{tag}:orders", "GROUP"))
    assert f"`{tagged.prefix}`" in text
    history = ChannelKeys.of("cw", "CHANNEL").history
    assert f"`{QueueKeys.of('cw', adopted_queue(history, 'GROUP')).prefix}`" in text


def test_every_key_of_channels_settings_and_workers_is_documented() -> None:
    text = prose(PAGE)
    names = [*_names(ChannelKeys.of("cw", "CHANNEL")), *_names(WorkerKeys("cw"))]
    names.append(ChannelKeys.of_setting("cw", "NAME").history)
    names.append(LockKeys("cw", "NAME").lock)
    assert [name for name in names if f"`{name}`" not in text] == []
    assert [prefix for prefix in RESERVED_PREFIXES if f"`{prefix}`" not in text] == []


def test_every_script_is_documented_with_its_keys() -> None:
    shown = {name: row for row in rows(sections(PAGE)["Scripts"]) for name in codes(row[0])}
    all_of_them = [one for one in vars(scripts).values() if isinstance(one, Script)]
    assert set(shown) == {script.name for script in all_of_them}
    for script in all_of_them:
        row = shown[script.name]
        if len(row) == 4:
            numbered = re.findall(r"\b(\d+) (\w+)", _header(script, "KEYS", "ARGV"))
            fixed = row[1].partition(";")[0].split(", ")
            assert len(fixed) == len(numbered), script.name


def _header(script: Script, first: str, last: str) -> str:
    """The lines of a script's header from one word up to another."""
    comments = "\n".join(re.findall(r"^-- (.*)$", script.source, re.M))
    return comments[comments.index(f"{first} ") : comments.index(f"{last} ")]


def test_every_script_without_idempotence_is_named() -> None:
    [listed] = re.findall(r"Every one but (.*) may simply be sent again", prose(PAGE))
    unsafe = {s.name for s in vars(scripts).values() if isinstance(s, Script) and not s.idempotent}
    assert set(codes(listed)) == unsafe


def test_example_of_an_id_is_taken_apart_rightly() -> None:
    text = PAGE.read_text()
    [task_id] = re.findall(r"^(inference-[0-9A-V]{32})$", text, re.M)
    made = parse_made_id(task_id)
    assert made is not None
    assert f"`{made.entry}`" in text
    assert f"`{{cw:QUEUE}}:told:{made.producer}`" in text
    assert f"`infer {made.nonce} " in text
    assert isinstance(made.entry, Position)


@pytest.mark.parametrize(
    ("section", "kind"),
    [("The entry of a task", Meta), ("The record", Record)],
    ids=["meta", "record"],
)
def test_every_field_is_documented(section: str, kind: type[msgspec.Struct]) -> None:
    shown = [name for row in rows(sections(PAGE)[section]) for name in codes(row[0])]
    fields = [field.name for field in msgspec.structs.fields(kind)]
    assert shown[-len(fields) :] == fields


def test_defaults_of_meta_are_documented() -> None:
    tables = rows(sections(PAGE)["The entry of a task"])
    shown = {codes(row[0])[0]: row[1].strip("`") for row in tables if len(row) == 3}
    assert {name: msgspec.json.decode(text) for name, text in shown.items()} == {
        name: getattr(Meta(), name) for name in Meta.__struct_fields__
    }


def test_fields_of_other_values_are_documented() -> None:
    page = sections(PAGE)
    error = [row for row in rows(page["The record"]) if row[0] == "`error`"][0]
    assert codes(error[1]) == list(ErrorInfo.__struct_fields__)
    [version] = [row for row in rows(page["The record"]) if row[0] == "`v`"]
    assert str(FORMAT) in version[1]
    worker = [row for row in rows(page["Register of workers"]) if "id host" in row[2]][0]
    assert codes(worker[2])[0].split() == list(WorkerInfo.__struct_fields__)
    assert re.findall(
        r'"(\w+)"',
        next(
            row[2]
            for row in rows(page["Keys of a channel with a history"])
            if "positions" in row[0]
        ),
    ) == list(MemberPosition.__struct_fields__)
    letter = Letter("1-0", "q-1", "f", 1, "normal", [], [b"call", b"f - {}"]).as_fields()
    shown = [codes(row[0])[0] for row in rows(page["Dead letters"])]
    names = [n.decode() if isinstance(n, bytes) else n for n in letter[::2]]
    assert shown == [*names[:-1], "entry.NAME"]
    assert f"`{RESET}`" in page["Chunks"]
