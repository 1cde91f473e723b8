"""The demo's page in a real browser: it streams, survives a reload, and shows what happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from tests.demo.backend import Backend

pytestmark = [
    pytest.mark.timeout(180),  # a real model, on a machine that may be busy
    pytest.mark.xdist_group("demo"),  # one backend
]

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STORY = "Write a long story about a dragon."
PATIENCE = 90_000  # milliseconds; generous, it only ends a test that hangs

# Notes every length of the answer's text that was on the screen.
WATCH = """
window.lengths = [];
new MutationObserver(() => {
  const text = document.querySelector('.job .text');
  if (text && lengths.at(-1) !== text.textContent.length) lengths.push(text.textContent.length);
}).observe(document.getElementById('jobs'), {childList: true, subtree: true, characterData: true});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        program = CHROMIUM if CHROMIUM.exists() else None  # else the one that Playwright installs
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, backend: Backend) -> Iterator[Page]:
    """The page, open and live. What the browser complains about fails the test."""
    complaints: list[str] = []
    with browser.new_context(viewport={"width": 1240, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(backend.url)
        expect(page.locator("#live")).to_have_text("live", timeout=PATIENCE)
        yield page
    assert complaints == []


def ask(page: Page, prompt: str) -> Locator:
    """Types a prompt, sends it, and returns the card of its answer."""
    page.locator("#prompt").fill(prompt)
    page.locator("#prompt").press("Enter")
    card = page.locator(".job").first
    expect(card.locator("h3")).to_have_text(prompt, timeout=PATIENCE)
    return card


def task_of(card: Locator) -> str:
    return str(card.get_attribute("data-task"))


def wait_for_text(page: Page, length: int) -> str:
    """Waits until the newest answer has so many characters, and is still being written."""
    page.wait_for_function(
        "length => document.querySelector('.job .text').textContent.length >= length", arg=length
    )
    expect(page.locator(".job .status").first).to_have_text("running")
    return page.locator(".job .text").first.text_content() or ""


def expect_the_result(card: Locator, backend: Backend) -> dict[str, object]:
    """Waits for the end; the text on the page must be the result, to the letter."""
    expect(card.locator(".status")).to_have_text("succeeded", timeout=PATIENCE)
    status = backend.status(task_of(card))
    assert card.locator(".text").text_content() == status["result"]
    return status


def test_an_answer_streams_in(page: Page, backend: Backend) -> None:
    backend.sampling(max_tokens=60, temperature=0)
    page.evaluate(WATCH)
    card = ask(page, STORY)
    expect_the_result(card, backend)
    lengths = page.evaluate("lengths")
    assert lengths == sorted(lengths)
    assert len(lengths) >= 5, "the answer did not come in steps"
    expect(card.locator("footer")).to_contain_text("attempt 1")
    expect(card.locator("footer")).to_contain_text("worker ")


def test_a_reload_in_mid_stream_goes_on_where_it_was(page: Page, backend: Backend) -> None:
    backend.sampling(max_tokens=300, temperature=0)
    card = ask(page, STORY)
    before = wait_for_text(page, 60)
    with page.expect_request(lambda request: "/events?after=1-" in request.url):
        page.reload()
    restored = page.locator(".job .text").first.text_content() or ""
    assert restored.startswith(before), "the text was lost or began again"
    expect(page.locator(".job")).to_have_count(1)
    wait_for_text(page, len(restored) + 1)  # not over yet, and it goes on
    expect_the_result(card, backend)


def test_many_reloads_neither_lose_nor_double(page: Page, backend: Backend) -> None:
    backend.sampling(max_tokens=200, temperature=0.7)
    card = ask(page, STORY)
    for length in (20, 60, 100, 140):
        wait_for_text(page, length)
        page.reload()
    expect_the_result(card, backend)


def test_a_killed_worker_shows_and_the_text_ends_as_the_result(
    page: Page, backend: Backend
) -> None:
    backend.sampling(max_tokens=150, temperature=0.7)
    card = ask(page, STORY)
    wait_for_text(page, 20)
    backend.kill_worker_of(task_of(card))
    expect(card.locator(".note")).to_contain_text("Attempt 2", timeout=PATIENCE)
    status = expect_the_result(card, backend)
    assert status["attempts"] == 2
    expect(card.locator("footer")).to_contain_text("attempt 2")


def test_more_answers_than_a_browser_opens_connections_all_arrive(
    page: Page, backend: Backend
) -> None:
    backend.sampling(max_tokens=8, temperature=0)
    for number in range(7):
        ask(page, f"{STORY} It has {number} heads.")
    for card in page.locator(".job").all():
        expect_the_result(card, backend)
    expect(page.locator(".job")).to_have_count(7)


def test_an_upload_shows_progress_the_summary_and_the_events(page: Page, backend: Backend) -> None:
    text = "The harbour is old. Its cranes were built in 1920. Ships come every day. " * 16
    document = {"name": "harbour.txt", "mimeType": "text/plain", "buffer": text.encode()}
    page.locator("#file").set_input_files(document)  # type: ignore[arg-type]
    card = page.locator(".job").first
    expect(card.locator("h3")).to_have_text("harbour.txt", timeout=PATIENCE)
    expect(card.locator("progress")).to_be_visible(timeout=PATIENCE)
    expect(card.locator(".text")).to_contain_text("the model reads part", timeout=PATIENCE)
    assert 0 < float(card.locator("progress").evaluate("bar => bar.value")) < 1
    expect(card.locator(".status")).to_have_text("succeeded", timeout=PATIENCE)
    result = backend.status(task_of(card))["result"]
    expect(card.locator(".text")).to_have_text(result["summary"])
    expect(card.locator(".facts")).to_contain_text(f"{result['words']} words")
    events = page.locator("#events")
    for told in ("received harbour.txt", "processed harbour.txt", "2 ¢ for harbour.txt"):
        expect(events).to_contain_text(told, timeout=PATIENCE)


def test_an_answer_can_be_stopped_and_removed(page: Page, backend: Backend) -> None:
    backend.sampling(max_tokens=1000, temperature=0)
    card = ask(page, STORY)
    wait_for_text(page, 10)
    card.get_by_role("button", name="Stop").click()
    expect(card.locator(".status")).to_have_text("cancelled", timeout=PATIENCE)
    card.get_by_role("button", name="Remove").click()
    expect(page.locator(".job")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


def test_settings_and_versions_tell_who_has_them(page: Page, backend: Backend) -> None:
    backend.settle()
    page.locator("#max_tokens").fill("200")
    expect(page.locator("#set-note")).to_have_text("Changed in all 3 processes.", timeout=PATIENCE)
    assert backend.http.get("/api/settings").json()["max_tokens"] == 200
    page.get_by_role("button", name="New version").click()
    expect(page.locator("#set-note")).to_contain_text("is in all 3 processes", timeout=PATIENCE)
    expect(page.locator("#events")).to_contain_text("small is now version", timeout=PATIENCE)


def test_workers_and_queues_are_shown(page: Page, backend: Backend) -> None:
    expect(page.locator("#workers li")).to_have_count(2, timeout=PATIENCE)
    for worker in backend.workers:
        expect(page.locator("#workers")).to_contain_text(str(worker.pid))
    expect(page.locator("#queues")).to_contain_text("inference")
    expect(page.locator("#queues")).to_contain_text("documents")


def test_a_gateway_that_is_killed_and_comes_back_loses_nothing(
    browser: Browser, backend: Backend
) -> None:
    backend.sampling(max_tokens=200, temperature=0.7)
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(backend.url)
        card = ask(page, STORY)
        wait_for_text(page, 30)
        backend.gateway.kill()
        backend.gateway.wait()
        expect(page.locator("#live")).to_have_text("reconnecting", timeout=PATIENCE)
        backend.start_gateway()
        expect(page.locator("#live")).to_have_text("live", timeout=PATIENCE)
        expect_the_result(card, backend)
        assert backend.status(task_of(card))["attempts"] == 1


def test_a_task_that_the_server_has_forgotten_is_shown_as_gone(
    browser: Browser, backend: Backend
) -> None:
    # As if the page came back after the record's time to live, or to a new server.
    job = {
        "id": "inference-01M000000000000000000000000",
        "kind": "prompt",
        "title": STORY,
        "text": "Once upon a time",
        "last": "1-4",
        "status": "running",
    }
    with browser.new_context() as context:
        saved = json.dumps(json.dumps([job]))
        context.add_init_script(f"sessionStorage.setItem('jobs', {saved})")
        page = context.new_page()
        page.goto(backend.url)
        expect(page.locator(".job .status")).to_have_text("gone", timeout=PATIENCE)
        expect(page.locator(".job .note")).to_contain_text("does not know this task")
        expect(page.locator(".job .text")).to_have_text("Once upon a time")


def test_the_page_needs_nothing_from_elsewhere(browser: Browser, backend: Backend) -> None:
    hosts = set()
    with browser.new_context() as context:
        page = context.new_page()
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(backend.url)
        expect(page.locator("#workers li")).to_have_count(2, timeout=PATIENCE)
    assert hosts == {backend.url.removeprefix("http://")}
