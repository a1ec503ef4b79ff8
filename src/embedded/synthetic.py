"""A model of random weights and a few MB, made from a seed: an engine's timing and dialect without its sense.

Its answers are real words in no order. The vocabulary knows common English and Spanish words, so that a text
has about as many tokens as a real model counts; any other text falls apart into bytes. The end-of-text token
is practically never drawn: an answer is as long as the request allows, which makes load repeatable.

Needs the packages `gguf` and `numpy` (requirements/dev.txt), only to make the file.
"""

import hashlib
from dataclasses import astuple, dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from embedded.folder import cache_folder, need_space, whole_folder
from embedded.model import Model

FORMAT = 1  # part of the file's name: to be raised when the same seed must give other weights
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END, MESSAGE_END = 0, 2
WORDS = Path(__file__).with_name("synthetic_words.txt")
CHAT = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the transformer; the default costs about a tenth of SmolLM2-135M a token."""

    layers: int = 6
    width: int = 256
    heads: int = 4
    key_heads: int = 2
    hidden: int = 768
    context: int = 8192


def synthetic(seed: int = 1, shape: Shape | None = None) -> Model:
    """The model of this seed and shape; made once for each user, in about a second."""
    shape = shape or Shape()
    mark = hashlib.sha256(repr((FORMAT, seed, astuple(shape))).encode()).hexdigest()[:12]
    folder = cache_folder() / f"synthetic-{mark}"
    if not folder.exists():
        need_space(folder.parent, 64, "a synthetic model")
        whole_folder(folder, lambda part: write(part / "model.gguf", seed, shape))
    note = f"synthetic: random weights of seed {seed}, words without sense"
    return Model(f"synthetic:{seed}", folder / "model.gguf", note)


def byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes (its `bytes_to_unicode`)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256)]


def vocabulary() -> tuple[list[str], list[str], list[int]]:
    """Tokens, merges, and the numbers of the tokens that are whole words.

    Each word is built letter by letter from its start, with a space before it: its merges are its prefixes.
    """
    letters = byte_letters()
    tokens = [*SPECIALS, *letters]
    known = set(tokens)
    merges: list[str] = []
    words: list[str] = []
    for word in WORDS.read_text().split():
        pieces = [letters[byte] for byte in f" {word}".encode()]
        prefix = pieces[0]
        for piece in pieces[1:]:
            longer = prefix + piece
            if longer not in known:
                known.add(longer)
                tokens.append(longer)
                merges.append(f"{prefix} {piece}")
            prefix = longer
        words.append(prefix)
    number = {token: at for at, token in enumerate(tokens)}
    return tokens, merges, [number[word] for word in words]


def write(path: Path, seed: int, shape: Shape) -> None:
    tokens, merges, words = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"synthetic {seed}")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.CONTROL] * len(SPECIALS)
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIALS)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(END)
    writer.add_eos_token_id(MESSAGE_END)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT)
    for name, weights in tensors(seed, shape, len(tokens), words).items():
        if weights.ndim == 1:
            writer.add_tensor(name, weights)
        else:
            packed = gguf.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(seed: int, shape: Shape, vocabulary_size: int, words: list[int]) -> dict[str, Weights]:
    """Gaussian weights that keep activations of order one, as trained ones do."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, deviation: float | None = None) -> Weights:
        spread = columns**-0.5 if deviation is None else deviation
        return (random.standard_normal((rows, columns)) * spread).astype(np.float32)

    width, keys = shape.width, shape.width // shape.heads * shape.key_heads
    ones = np.ones(width, dtype=np.float32)
    # Logits of whole words deviate by 4, all others are 0: what is drawn is a word.
    head = np.zeros((vocabulary_size, width), dtype=np.float32)
    head[words] = matrix(len(words), width, 4.0 * width**-0.5)
    result = {"token_embd.weight": matrix(vocabulary_size, width, 1.0), "output.weight": head}
    result["output_norm.weight"] = ones
    for layer in range(shape.layers):
        name = f"blk.{layer}"
        result[f"{name}.attn_norm.weight"] = ones
        result[f"{name}.attn_q.weight"] = matrix(width, width)
        result[f"{name}.attn_k.weight"] = matrix(keys, width)
        result[f"{name}.attn_v.weight"] = matrix(keys, width)
        result[f"{name}.attn_output.weight"] = matrix(width, width)
        result[f"{name}.ffn_norm.weight"] = ones
        result[f"{name}.ffn_gate.weight"] = matrix(shape.hidden, width)
        result[f"{name}.ffn_up.weight"] = matrix(shape.hidden, width)
        result[f"{name}.ffn_down.weight"] = matrix(width, shape.hidden)
    return result
