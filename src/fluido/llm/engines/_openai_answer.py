"""One answer of an OpenAI-compatible server, out of its chunks."""

from collections.abc import Callable

from fluido.llm._call import Delta, Timings
from fluido.llm._errors import StreamBroken
from fluido.llm.engines._wire import mapping, number, text
from fluido.llm.prompt import ThinkTags

NO_REASON = frozenset({"", "null", "None"})


class Reader:
    """Collects what the chunks of one answer tell. `tags`: thoughts in the text are told apart."""

    def __init__(self, clock: Callable[[], float], slot: int | None, engine: str, *, tags: bool) -> None:
        self._clock = clock
        self._started_s = clock()
        self._first_s: float | None = None
        self._slot = slot
        self._engine = engine
        self._tags = ThinkTags() if tags else None
        self._finish = ""
        self._pieces = 0
        self._server: dict[str, object] = {}
        self._usage: dict[str, object] = {}

    @property
    def heard(self) -> bool:
        """Whether a word was said."""
        return self._first_s is not None

    @property
    def is_finished(self) -> bool:
        """Whether the server said why it stopped: what may still come are figures."""
        return bool(self._finish)

    def read(self, chunk: dict[str, object]) -> Delta | None:
        """One chunk; the text in it, if any."""
        self._server = mapping(chunk.get("timings")) or self._server
        self._usage = mapping(chunk.get("usage")) or self._usage
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return None
        choice = mapping(choices[0])
        finish = text(choice.get("finish_reason"))
        self._finish = self._finish if finish in NO_REASON else finish
        delta = mapping(choice.get("delta")) or mapping(choice.get("message"))
        said, thought = _spoken(delta.get("content"))
        said = said or text(delta.get("refusal"))
        thought = thought or text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
        if not said and not thought:
            return None
        self._pieces += 1
        if self._first_s is None:
            self._first_s = self._clock()
        if self._tags is None or not said:
            return Delta(said, thought)
        split = self._tags.split(said)
        return _some(split.text, thought + split.thinking)

    def done(self) -> None:
        """The server said that this was all; some never say why."""
        if not self._finish and self.heard:
            self._finish = "stop"

    def rest(self) -> Delta | None:
        """What was held back because it might have been the beginning of a tag."""
        held = self._tags.end() if self._tags is not None else Delta("")
        return _some(held.text, held.thinking)

    def timings(self) -> Timings:
        """The end. Raises StreamBroken when the server never said why it stopped."""
        if not self._finish:
            raise StreamBroken(f"{self._engine} closed the stream without an end")
        now_s = self._clock()
        total_s = now_s - self._started_s
        ttft_s = (now_s if self._first_s is None else self._first_s) - self._started_s
        prefill_s = number(self._server.get("prompt_ms")) / 1e3
        decode_s = number(self._server.get("predicted_ms")) / 1e3
        if not self._server:  # a server that tells nothing: the first token ends the prefill
            prefill_s, decode_s = ttft_s, total_s - ttft_s
        details = mapping(self._usage.get("prompt_tokens_details"))
        cached = self._server.get("cache_n", details.get("cached_tokens"))
        fresh = number(self._server.get("prompt_n"))
        prompt = number(self._usage.get("prompt_tokens")) or fresh + number(cached)
        output = number(self._server.get("predicted_n")) or number(self._usage.get("completion_tokens"))
        return Timings(
            queue_s=max(0.0, total_s - prefill_s - decode_s),
            load_s=0.0,
            prefill_s=prefill_s,
            decode_s=decode_s,
            ttft_s=ttft_s,
            total_s=total_s,
            prompt_tokens=int(prompt),
            cached_tokens=None if cached is None else int(number(cached)),
            output_tokens=int(output) or self._pieces,
            finish_reason=self._finish,
            slot=self._slot,
            engine=self._engine,
        )


def _spoken(content: object) -> tuple[str, str]:
    """Text and thoughts of a content, which Mistral's thinking models send as a list of parts."""
    if not isinstance(content, list):
        return text(content), ""
    parts = [mapping(part) for part in content]
    thoughts = (_spoken(part.get("thinking"))[0] for part in parts)
    return "".join(text(part.get("text")) for part in parts), "".join(thoughts)


def _some(said: str, thought: str) -> Delta | None:
    return Delta(said, thought) if said or thought else None
