"""SmolLM2-135M on the CPU: a language model small enough to try castwork with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import Any

from castwork.demo import llama


class SmallModel:
    """SmolLM2-135M on the CPU, one instance per process.

    Generations run one after the other, in the order of their calls, on one thread of the instance.
    """

    def __init__(self, *, threads: int = 1, context: int = 2048) -> None:
        """Loads the weights: 0.4 to 0.8 s with the GIL held, so that no other thread runs.

        Args:
            threads: CPU threads. They wait for each other in a spin loop: more threads than idle
                cores make generation many times slower, not faster.
            context: tokens of prompt and answer together, at most 8192.

        Raises:
            RuntimeError: the packages of the demo are missing or do not load.
        """
        self._server: Any = llama.load(threads=threads, context=context)
        self._closed = Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="small-model")

    def generate(
        self,
        prompt: str,
        *,
        system: str | None = None,
        temperature: float = 0.7,
        max_tokens: int = 128,
        should_stop: Callable[[], bool] | None = None,
    ) -> Generator[str, None, None]:
        """Yields the answer in pieces, token by token, and blocks between them.

        `should_stop` is asked on the model's thread, before every token. Closing the generator
        stops the generation and waits until the model is free. At temperature 0 the same prompt
        gives the same answer. An answer that fills the context ends there.

        Raises:
            PromptTooLong: the prompt does not fit into the context.
            ValueError: `max_tokens` is less than 1.
            RuntimeError: the model is closed, or was closed while it generated.
        """
        request = llama.request(prompt, system, temperature, max_tokens)
        pieces: SimpleQueue[str | None] = SimpleQueue()
        gone = Event()
        job = self._executor.submit(self._run, request, pieces.put, gone, should_stop)
        job.add_done_callback(lambda _: pieces.put(None))
        try:
            while (piece := pieces.get()) is not None:
                yield piece
            job.result()
        finally:
            gone.set()
            if not job.cancel():
                job.exception()  # waits for the end

    async def stream(
        self,
        prompt: str,
        *,
        system: str | None = None,
        temperature: float = 0.7,
        max_tokens: int = 128,
        should_stop: Callable[[], bool] | None = None,
    ) -> AsyncGenerator[str, None]:
        """Like `generate`, without blocking the event loop.

        Closing or cancelling it stops the generation at the next token (in a long prompt: at the
        next batch) and returns when the model is free for the next call.
        """
        request = llama.request(prompt, system, temperature, max_tokens)
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        gone = Event()

        def emit(piece: str) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        job = self._executor.submit(self._run, request, emit, gone, should_stop)
        done = asyncio.wrap_future(job)
        done.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            done.result()
        finally:
            gone.set()
            if not job.cancel():  # the job runs or has run; a cancelled job never will
                await asyncio.wait([done])

    def close(self) -> None:
        """Stops what runs (its caller gets a RuntimeError), joins the thread, frees the memory."""
        self._closed.set()
        self._executor.shutdown()
        self._server = None

    def _run(
        self,
        request: dict[str, Any],
        emit: Callable[[str], None],
        gone: Event,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        failure: list[Exception] = []

        def on_chunk(chunk: dict[str, Any]) -> bool:
            """Returns True to stop. Exceptions are kept, as llama.cpp would swallow them."""
            try:
                if gone.is_set() or self._closed.is_set() or (should_stop and should_stop()):
                    return True
                if piece := llama.piece(chunk):
                    emit(piece)
            except Exception as error:
                failure.append(error)
            return bool(failure)

        if not (gone.is_set() or self._closed.is_set()):
            self._server.handle_chat_completions(request, on_chunk)
        if failure:
            raise failure[0]
        if self._closed.is_set():
            raise RuntimeError("the model was closed")
