"""Documents for the demo: text out of a file, and chunks out of the text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from pypdf import PdfReader
from pypdf.errors import DependencyError

PDF_MAGIC = b"%PDF-"
MAGIC_WINDOW = 1024  # bytes; readers accept a PDF that begins after some junk
PARAGRAPH_END = re.compile(r"\n\s*\n")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class UnreadableDocument(ValueError):
    """The document has no text that can be read; the message is for the person who sent it."""


def extract_pages(data: bytes, filename: str) -> list[str]:
    """Reads the text of a PDF (by its magic, whatever its name) or of a plain text file.

    Args:
        data: the whole file.
        filename: only names the file in messages.

    Returns:
        One string for each page of a PDF that has text, or the whole text file as one page.

    Raises:
        UnreadableDocument: the file is empty, or a PDF that is damaged, encrypted or without text.
    """
    if PDF_MAGIC in data[:MAGIC_WINDOW]:
        pages = _pdf_pages(data, filename)
    else:
        pages = [data.decode("utf-8-sig", "replace").replace("\r\n", "\n")]
    pages = [page for page in pages if page.strip()]
    if not pages:
        raise UnreadableDocument(f"{filename} contains no text")
    return pages


def split_text(pages: list[str], *, words_per_chunk: int = 180) -> list[str]:
    """Splits pages into chunks of at most `words_per_chunk` words, for one model call each.

    A chunk ends with a paragraph where paragraphs fit, else with a sentence. Only a sentence that
    is longer than a chunk is cut, between two words. No word is lost, repeated or split.

    Raises:
        ValueError: `words_per_chunk` is less than 1.
    """
    if words_per_chunk < 1:
        raise ValueError(f"words_per_chunk must be at least 1, not {words_per_chunk}")
    chunks: list[str] = []
    size = words_per_chunk  # words in the last chunk; at first "full": a first chunk is begun
    for separator, piece in _pieces(pages, words_per_chunk):
        words = count_words(piece)
        if size + words > words_per_chunk:
            chunks.append(piece)
            size = words
        else:
            chunks[-1] += separator + piece
            size += words
    return chunks


def count_words(text: str) -> int:
    """The number of words, as whitespace separates them."""
    return len(text.split())


def _pdf_pages(data: bytes, filename: str) -> list[str]:
    try:
        reader = PdfReader(io.BytesIO(data))
        # Many PDFs are encrypted with an empty password, only to forbid printing.
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableDocument(f"{filename} is protected by a password")
        return [page.extract_text() for page in reader.pages]
    except UnreadableDocument:
        raise
    except DependencyError as error:  # AES needs a package that the demo does without
        raise UnreadableDocument(f"{filename} is encrypted") from error
    except Exception as error:  # a broken file leads the parser into errors of any type
        raise UnreadableDocument(f"{filename} is a damaged PDF") from error


def _pieces(pages: list[str], limit: int) -> Iterator[tuple[str, str]]:
    """Yields (separator from the piece before, piece), no piece above `limit` words."""
    for page in pages:
        for paragraph in PARAGRAPH_END.split(page):
            if 0 < count_words(paragraph) <= limit:
                yield "\n\n", " ".join(paragraph.split())
                continue
            separator = "\n\n"
            for sentence in SENTENCE_END.split(paragraph):
                words = sentence.split()
                for start in range(0, len(words), limit):
                    yield separator, " ".join(words[start : start + limit])
                    separator = " "
