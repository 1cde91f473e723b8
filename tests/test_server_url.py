"""Where an app's server is: its own URL, the environment's, or a file's."""

from __future__ import annotations

from pathlib import Path

import pytest

from castwork import App
from castwork.model.errors import DefinitionError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CASTWORK_URL", "CASTWORK_URL_FILE", "STOCK_URL", "STOCK_URL_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_the_environment_goes_before_the_app(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = App("redis://own")
    assert app.url == "redis://own"
    (tmp_path / "url").write_text("redis://file\nmore\n")
    monkeypatch.setenv("CASTWORK_URL_FILE", str(tmp_path / "url"))
    assert app.url == "redis://file"
    monkeypatch.setenv("CASTWORK_URL", "redis://variable")
    assert app.url == "redis://variable"
    app.server_url.override = "redis://command"
    assert app.url == "redis://command"


def test_a_second_app_reads_variables_of_its_own_or_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASTWORK_URL", "redis://first")
    monkeypatch.setenv("CASTWORK_URL_FILE", str(tmp_path / "none"))
    stock, fixed = App("redis://own", env="STOCK"), App("redis://own", env=None)
    assert (stock.url, fixed.url) == ("redis://own", "redis://own")
    monkeypatch.setenv("STOCK_URL", "redis://second")
    assert (stock.url, fixed.url) == ("redis://second", "redis://own")


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_a_file_without_a_url_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    monkeypatch.setenv("CASTWORK_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(DefinitionError, match="CASTWORK_URL_FILE="):
        assert App("redis://own").url
