"""A model of random weights: the same from the same seed, every text has tokens, what it draws are words."""

from pathlib import Path

import gguf
import pytest

from embedded.synthetic import WORDS, Shape, vocabulary, write

TINY = Shape(layers=1, width=64, heads=2, key_heads=1, hidden=64, context=256)


def test_a_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write(tmp_path / name, seed, TINY)
    first, same, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == same
    assert first != other


def test_the_file_declares_what_an_engine_reads(tmp_path: Path) -> None:
    write(tmp_path / "model.gguf", 1, TINY)
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    assert fields["general.architecture"].contents() == "llama"
    assert fields["llama.context_length"].contents() == 256
    assert "<|im_start|>" in fields["tokenizer.chat_template"].contents()


def test_every_merge_joins_two_tokens_into_a_third() -> None:
    tokens, merges, words = vocabulary()
    known = set(tokens)
    assert len(known) == len(tokens)
    for merge in merges:
        left, right = merge.split(" ")
        assert {left, right, left + right} <= known
    assert [tokens[word][0] for word in words] == ["Ġ"] * len(WORDS.read_text().split())


@pytest.mark.parametrize("byte", [0x00, 0x20, 0x41, 0x7F, 0xAD, 0xFF])
def test_every_byte_has_a_token(byte: int) -> None:
    tokens, _, _ = vocabulary()
    assert len(tokens[3 + byte]) == 1
