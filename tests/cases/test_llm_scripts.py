"""Case 8 (c) of llm.md: the first guess of a prompt's tokens, against a real tokenizer."""

from collections.abc import Iterator

import aiohttp
import pytest

import embedded
from embedded.engine import EngineOptions
from embedded.model import smollm2
from fluido.llm import Message
from fluido.llm.prompt._budget import MESSAGE_OVERHEAD_TOKENS, TokenEstimate

pytestmark = [pytest.mark.anyio, pytest.mark.servers]
TEXTS = {
    "English": "The quick brown fox jumps over the lazy dog near the river, and nobody knows why.",
    "Spanish": "El veloz murciélago hindú comía feliz cardillo y kiwi mientras la cigüeña tocaba.",
    "code": "def f(x):\n    return {k: v for k, v in x.items() if v is not None}\n",
    "Russian": "Съешь же ещё этих мягких французских булок",
    "Arabic": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب",
    "Chinese": "敏捷的棕色狐狸跳过了河岸边那只懒惰的狗没有人知道为什么",
    "Japanese": "いろはにほへとちりぬるを我が世誰ぞ常ならむ",
    "Korean": "다람쥐 헌 쳇바퀴에 타고파 아무도 왜 그렇게",
    "emoji": "😀🎉🚀🔥🌍👍🏽",
}


@pytest.fixture(scope="module")
def tokenizer(ground_folder) -> Iterator[str]:
    options = EngineOptions(slots=1, slot_tokens=256, prompt_cache_mib=0, threads=1)
    server = embedded.Engine(ground_folder, smollm2(), options, folder="tokenizer")
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


async def test_the_first_guess_is_of_the_right_size_in_every_script(tokenizer) -> None:
    """Within a factor of two; before, Chinese was guessed at a seventh of what it is."""
    shares = {}
    async with aiohttp.ClientSession() as session:
        for name, text in TEXTS.items():
            async with session.post(f"{tokenizer}/tokenize", json={"content": text}) as reply:
                tokens = len((await reply.json())["tokens"])
            guess = TokenEstimate().of(Message("user", text)) - MESSAGE_OVERHEAD_TOKENS
            shares[name] = guess / tokens
    assert all(0.5 < share < 2.0 for share in shares.values()), shares
