# ruff: noqa: E501  (the texts as they come)
"""Cases 8(a) and 17 of llm.md: what engines say when a prompt is too long, each text as it comes."""

import json

import pytest

from fluido.llm.engines._refusals import TooLong, bound_too_large, is_error, status_of, text_of, too_long

LLAMACPP = {
    "code": 400,
    "message": "request (2622 tokens) exceeds the available context size (512 tokens), try increasing it",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 2622,
    "n_ctx": 512,
}
OVER = [
    # Ollama 0.12 to 0.20; 0.30 and newer, which wrap llama.cpp's reply in a text
    ({"error": "the input length exceeds the context length"}, 0, 0),
    ({"error": json.dumps({"error": LLAMACPP}, separators=(",", ":"))}, 2622, 512),
    # llama.cpp, new and old
    ({"error": LLAMACPP}, 2622, 512),
    (
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size. try increasing the context size or "
                "enable context shift",
            }
        },
        0,
        0,
    ),
    # vLLM through its years, its error with and without a wrapper
    (
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens "
            "(4500 in the messages, 500 in the completion). Please reduce the length of the messages or "
            "completion.",
            "type": "BadRequestError",
            "code": 400,
        },
        4500,
        4096,
    ),
    (
        {
            "error": {
                "message": "This model's maximum context length is 4096 tokens. However, your request has 5000 "
                "input tokens. Please reduce the length of the input messages."
            }
        },
        5000,
        4096,
    ),
    (
        {
            "error": {
                "message": "This model's maximum context length is 128000 tokens. However, you requested 65535 "
                "output tokens and your prompt contains at least 62466 input tokens, for a total of at least "
                "128001 tokens. Please reduce the length of the input prompt or the number of requested output "
                "tokens."
            }
        },
        62466,
        128000,
    ),
    (
        {
            "error": {
                "message": "'max_tokens' or 'max_completion_tokens' is too large: 1000. This model's maximum "
                "context length is 4096 tokens and your request has 3500 input tokens (1000 > 4096 - 3500)."
            }
        },
        3500,
        4096,
    ),
    (
        {
            "error": "The decoder prompt (length 5951) is longer than the maximum model length of 4096. Make sure"
        },
        5951,
        4096,
    ),
    # OpenAI
    (
        {
            "error": {
                "message": "This model's maximum context length is 4097 tokens. However, your messages resulted "
                "in 6164 tokens. Please reduce the length of the messages.",
                "code": "context_length_exceeded",
            }
        },
        6164,
        4097,
    ),
    ({"error": {"message": "Bad Request", "code": "context_length_exceeded"}}, 0, 0),
    # SGLang
    (
        {"message": "The input (5000 tokens) is longer than the model's context length (4096 tokens)."},
        5000,
        4096,
    ),
    # LM Studio
    (
        {
            "error": "Trying to keep the first 5213 tokens when context the overflows. However, the model is "
            "loaded with context length of only 4096 tokens, which is not enough. Try to load the model with a "
            "larger context length, or provide a shorter input"
        },
        5213,
        4096,
    ),
    (
        {
            "error": "The number of tokens to keep from the initial prompt is greater than the context length "
            "(n_keep: 5213>= n_ctx: 4096). Try to load the model with a larger context length, or provide a "
            "shorter input."
        },
        5213,
        4096,
    ),
    # TabbyAPI
    ({"detail": "Prompt length 5000 is greater than max_seq_len 4096"}, 5000, 4096),
    # TGI
    (
        {
            "error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 1337",
            "error_type": "validation",
        },
        1337,
        1024,
    ),
    # LiteLLM, which passes on
    (
        {
            "error": {
                "message": "litellm.ContextWindowExceededError: litellm.BadRequestError: This model's maximum "
                "context length is 4096 tokens. However, your request has 5000 input tokens."
            }
        },
        5000,
        4096,
    ),
]
OTHER = [
    {"error": "model 'm' not found"},
    {"error": json.dumps({"error": {"code": 400, "message": "model does not support multimodal requests."}})},
    {"error": {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}},
    {
        "error": {
            "message": "'max_tokens' is too large: 5000. This model supports at most 4096 completion tokens"
        }
    },
    {
        "error": "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length "
        "is 4096 tokens and your request has 27 input tokens (5000 > 4096 - 27)."
    },
    # several calls have filled the memory that they share: llama.cpp with a unified KV buffer
    {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}},
    {},
]


@pytest.mark.parametrize(("reply", "prompt", "window"), OVER, ids=range(len(OVER)))
def test_a_prompt_over_the_window_is_known_in_each_engines_words(reply, prompt: int, window: int) -> None:
    assert too_long(reply) == TooLong(prompt, window)


@pytest.mark.parametrize("reply", OTHER, ids=range(len(OTHER)))
def test_what_no_shorter_history_would_mend_is_not_taken_for_one(reply) -> None:
    assert too_long(reply) is None


def test_a_bound_on_the_answer_is_not_the_prompt() -> None:
    assert bound_too_large(text_of(OTHER[4]))
    assert not bound_too_large("the input length exceeds the context length")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": "e"}, "e"),
        ({"object": "error", "message": "vllm", "code": 400}, "vllm"),
        ({"detail": "fastapi"}, "fastapi"),
        ({"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}, "body.model: Field required"),
        ({"detail": {"error": {"message": "deep"}}}, "deep"),
        ({"error": None, "message": "m"}, "m"),
        ({"error": {"error": {"error": {"error": {"error": "too deep"}}}}}, ""),
        ([{"error": "in a list"}], "in a list"),
        ({"error": 5}, ""),
        (None, ""),
    ],
)
def test_the_text_is_found_in_any_shape(reply: object, said: str) -> None:
    assert text_of(reply) == said


@pytest.mark.parametrize(
    ("chunk", "is_one"),
    [
        ({"error": None, "choices": [{"delta": {"content": "a"}}]}, False),
        ({"error": {"message": "x", "code": 400}}, True),
        ({"error": "x"}, True),
        ({"object": "error", "message": "x", "code": 400}, True),
        ({"detail": "x"}, True),
        ({"object": "chat.completion.chunk", "choices": []}, False),
        ({"message": {"content": "Ollama says"}, "done": False}, False),
    ],
)
def test_an_error_among_the_chunks(chunk: dict[str, object], is_one: bool) -> None:
    assert is_error(chunk) is is_one


def test_an_error_event_may_name_its_status() -> None:
    assert status_of({"error": {"code": 400}}) == 400
    assert status_of({"object": "error", "code": "422", "message": "x"}) == 422
    assert status_of({"error": {"code": "context_length_exceeded"}}) == 0
