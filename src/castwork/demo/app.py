"""An AI backend: tasks that one worker runs, channels that everyone hears, a shared setting."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from castwork import App, AppSettings, Discard, Limits, current
from castwork.demo.documents import UnreadableDocument, count_words, extract_pages, split_text
from castwork.demo.events import Charge, DocumentEvent, ModelUpdated, QueueDepth, Sampling
from castwork.demo.llama import PromptTooLong
from castwork.demo.weights import Weights

logger = logging.getLogger(__name__)

# Arguments travel through Redis as JSON, in which bytes grow by a third. That will do for the
# files of a demo; larger files belong in a store of your own, and their addresses into arguments.
MAX_FILE = 2_000_000
READ_AT_MOST = 6  # chunks of a document that the model reads, spread over the whole text
CENTS_PER_PAGE = 2

app = App("embedded://", settings=AppSettings(limits=Limits(payload=3_000_000)))
app.queue("inference", concurrency=1)  # a worker has one model, which answers one at a time
app.queue("documents", concurrency=1)
weights = Weights()


@app.on_worker_start
async def load_model() -> None:
    """A worker takes prompts once its model is there."""
    await weights.get()


# -- a setting: one value, always current in the memory of every process --------------------

sampling = app.setting("inference", Sampling, default=Sampling())

# -- channels: every process hears every event ---------------------------------------------

documents = app.channel("documents", DocumentEvent, history=1000)
models = app.channel("models", ModelUpdated, history=100)
billing = app.channel("billing", Charge, history=10_000)
monitor = app.channel("monitor", QueueDepth)  # without history: `redis-cli subscribe monitor`

analytics: Counter[str] = Counter()  # what this process has heard since it started


@models.subscribe
async def reload_model(event: ModelUpdated) -> None:
    """Every process drops its copy; the publisher can wait until all have."""
    await weights.update(event.name, event.version)


@documents.subscribe
async def count(event: DocumentEvent) -> None:
    """Every process counts for itself."""
    analytics[event.event] += 1


@documents.subscribe(group="billing")
async def bill(event: DocumentEvent) -> None:
    """Of all workers, one bills the document.

    Should that worker die before it has said so, another bills the document again. So a charge
    names its document, and the ledger, which adds up the charges, counts each document once.
    """
    if event.event == "document_processed":
        cents = CENTS_PER_PAGE * event.pages
        await billing.publish(Charge(event.document_id, event.filename, cents))


@documents.subscribe(group="monitor")
async def report_depth(event: DocumentEvent) -> None:
    """Of all workers, one reports how long the queues are."""
    depth = {queue.name: queue.depth for queue in await app.queues()}
    await monitor.publish(QueueDepth(depth))


# -- tasks: exactly one worker runs each ---------------------------------------------------


@app.task(queue="inference", attempts=3, timeout=120)
async def infer(prompt: str, model: str = "small", user_id: str = "") -> AsyncIterator[str]:
    """Answers a prompt, token by token.

    There is one model in the package, and it answers to every name.
    """
    logger.info("%s answers %s", model, user_id or "somebody")
    params = sampling.value
    answer = (await weights.get()).stream(
        prompt, temperature=params.temperature, max_tokens=params.max_tokens
    )
    try:
        async with aclosing(answer):
            async for token in answer:
                yield token
    except PromptTooLong as error:
        raise Discard(str(error)) from error  # another attempt would not help


@dataclass(frozen=True)
class Summary:
    """What came out of a document."""

    document_id: str
    pages: int
    chunks: int
    words: int
    summary: str


@app.task(queue="documents", attempts=3, timeout=300)
async def process_document(document_id: str, filename: str, content: bytes) -> Summary:
    """Reads a document, splits it, and has the model summarise it."""
    task = current()
    await task.progress(0.0, "reading the file")
    try:
        pages = await asyncio.to_thread(extract_pages, content, filename)
    except UnreadableDocument as error:
        failed = DocumentEvent(
            "document_failed", document_id, filename, task.task_id, error=str(error)
        )
        await documents.publish(failed)
        raise Discard(str(error)) from error
    chunks = split_text(pages)
    words = sum(count_words(page) for page in pages)
    summary = await summarise_all(spread(chunks, READ_AT_MOST))
    size = (len(pages), len(chunks), words)
    await documents.publish(
        DocumentEvent("document_processed", document_id, filename, task.task_id, *size)
    )
    return Summary(document_id, *size, summary)


async def summarise_all(chunks: list[str]) -> str:
    """Summarises each chunk and then the summaries, and reports progress."""
    progress = current().progress
    steps = len(chunks) + 1
    notes = []
    for number, chunk in enumerate(chunks, 1):
        await progress(number / (steps + 1), f"the model reads part {number} of {len(chunks)}")
        notes.append(await summarise(chunk))
    if len(notes) == 1:
        return notes[0]
    await progress(steps / (steps + 1), "the model writes the summary")
    return await summarise("\n".join(notes))


async def summarise(text: str) -> str:
    """A sentence or two on a text."""
    model = await weights.get()
    prompt = f"Summarize this text in one or two short sentences:\n\n{text}"
    async with aclosing(model.stream(prompt, temperature=0, max_tokens=72)) as answer:
        text = "".join([token async for token in answer]).strip()
    return text[: text.rfind(".") + 1] or text  # without a sentence that was cut off


def spread(chunks: list[str], most: int) -> list[str]:
    """At most so many of the chunks, evenly spread over the text."""
    step = max(1.0, len(chunks) / most)
    return [chunks[int(number * step)] for number in range(min(most, len(chunks)))]
