"""Text out of files of all kinds, and chunks that lose nothing."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfWriter

from castwork.demo.documents import UnreadableDocument, count_words, extract_pages, split_text


def make_pdf(*pages: str) -> bytes:
    """A minimal PDF, written by hand: one font, one content stream a page."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents {5 + 2 * number} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    body, offsets = "%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    return (
        f"{body}xref\n0 {size}\n0000000000 65535 f \n{table}"
        f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    ).encode("ascii")


def encrypt(data: bytes, password: str) -> bytes:
    writer = PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_plain_text_is_one_page() -> None:
    assert extract_pages("Grüße\r\naus Köln".encode(), "a.txt") == ["Grüße\naus Köln"]


def test_byte_order_mark_is_dropped_and_bad_bytes_are_replaced() -> None:
    assert extract_pages(b"\xef\xbb\xbfcaf\xe9 au lait", "a.txt") == ["caf\ufffd au lait"]


def test_pdf_is_known_by_its_magic_and_keeps_its_pages() -> None:
    assert extract_pages(make_pdf("First page.", "Second page."), "letter.txt") == [
        "First page.",
        "Second page.",
    ]


def test_a_text_named_pdf_is_still_text() -> None:
    assert extract_pages(b"not a PDF", "a.pdf") == ["not a PDF"]


def test_pdf_encrypted_without_a_user_password_opens() -> None:
    assert extract_pages(encrypt(make_pdf("Open."), ""), "a.pdf") == ["Open."]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.pdf contains no text"),
        (b" \n\t ", "a.pdf contains no text"),
        (make_pdf(), "a.pdf contains no text"),
        (make_pdf(""), "a.pdf contains no text"),
        (b"%PDF-1.7\nnothing that follows is right", "a.pdf is a damaged PDF"),
        (make_pdf("Cut off.")[:120], "a.pdf is a damaged PDF"),
        (encrypt(make_pdf("Secret."), "secret"), "a.pdf is protected by a password"),
    ],
    ids=["empty", "blank", "no pages", "no text", "garbage", "truncated", "encrypted"],
)
def test_what_cannot_be_read_says_why(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        extract_pages(data, "a.pdf")
    assert str(caught.value) == message


def test_paragraphs_stay_whole_where_they_fit() -> None:
    pages = ["one two three.\n\nfour five.", "six seven eight nine."]
    assert split_text(pages, words_per_chunk=5) == [
        "one two three.\n\nfour five.",
        "six seven eight nine.",
    ]


def test_long_paragraphs_split_between_sentences() -> None:
    assert split_text(["One two three. Four five! Six seven?"], words_per_chunk=5) == [
        "One two three. Four five!",
        "Six seven?",
    ]


def test_long_sentences_split_between_words() -> None:
    assert split_text(["alpha beta gamma delta epsilon"], words_per_chunk=2) == [
        "alpha beta",
        "gamma delta",
        "epsilon",
    ]


def test_nothing_gives_no_chunks_and_no_size_is_refused() -> None:
    assert split_text([]) == split_text(["", " \n\n "]) == []
    with pytest.raises(ValueError, match="at least 1"):
        split_text(["word"], words_per_chunk=0)


@given(st.lists(st.text(alphabet="ab.!? \n\t\u00e9"), max_size=5), st.integers(1, 8))
def test_chunks_hold_every_word_once_in_order_and_within_the_size(
    pages: list[str], size: int
) -> None:
    chunks = split_text(pages, words_per_chunk=size)
    assert [word for chunk in chunks for word in chunk.split()] == " ".join(pages).split()
    assert all(1 <= count_words(chunk) <= size for chunk in chunks)
