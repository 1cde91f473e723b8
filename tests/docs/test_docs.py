"""The pages: code that compiles and declares what it says, links that lead somewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.docs.pages import DOCS, PAGES, ROOT, Block, blocks, prose, slug

PYTHON = [block for page in PAGES for block in blocks(page, "python")]

_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The `backend` that blocks import: the first one of the guide on enqueueing."""
    module = ModuleType("backend")
    exec(blocks(DOCS / "guides" / "enqueue.md", "python")[0].text, module.__dict__)
    monkeypatch.setitem(sys.modules, "backend", module)
    yield


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize(
    "block",
    [b for b in PYTHON if "asyncio.run(" not in b.text and "enqueue_sync" not in b.text],
    ids=str,
)
def test_python_declares_what_it_says(
    block: Block, backend: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing connects while a module is imported, so this needs no server."""
    module = ModuleType("documented")
    monkeypatch.setitem(sys.modules, "documented", module)
    exec(compile(block.text, str(block), "exec"), module.__dict__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{page.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(target), re.M)
            assert anchor in map(slug, headings), f"{page.name}: {link}"


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_pages_load_nothing_from_elsewhere() -> None:
    for page in PAGES:
        assert not re.search(r'(src|href)="https?://', page.read_text()), page
