"""What strangers write, made fit for logs and terminals."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from castwork.model.safe_text import printable, safe_text


@given(st.text(max_size=400))
def test_printable_text_is_one_line_that_steers_no_terminal(text: str) -> None:
    made = printable(text)
    assert len(made.splitlines()) <= 1
    for character in made:
        assert character.isprintable() or unicodedata.category(character) == "Zs"
    assert len(printable("x" * 1000)) == 303


def test_what_is_escaped_can_be_read() -> None:
    assert printable("a\n\x1b[31m\x9b\u2028é ß") == "a\\n\\x1b[31m\\x9b\\u2028é ß"


def test_text_that_cannot_be_made_is_said() -> None:
    def broken() -> str:
        raise ValueError

    assert safe_text(broken) == "(no text: its own raised ValueError)"
