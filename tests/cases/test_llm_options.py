"""Case 23-36 of llm.md: names of options as other clients write them, messages as they write them."""

import pytest

from fluido.llm import Call, CallRejected, Message, Options


@pytest.mark.parametrize(
    "name", ["num_predict", "max_tokens", "max_completion_tokens", "max_new_tokens", "n_predict"]
)
def test_a_bound_has_many_names(name: str) -> None:
    assert Options.parse({name: 7}).num_predict == 7


def test_max_tokens_is_a_name_of_ours_too() -> None:
    assert Options(max_tokens=9) == Options(num_predict=9)
    with pytest.raises(ValueError, match="one option"):
        Options(max_tokens=9, num_predict=8)


def test_what_we_have_no_name_for_is_passed_on() -> None:
    asked = {"repeat_last_n": 64, "mirostat": 2, "temperature": 0.5, "min_tokens": 3}
    parsed = Options.parse(asked)
    assert parsed.given() == asked
    assert Options(top_k=3).filled(parsed).given() == {**asked, "top_k": 3}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temprature", "temperature"),
        ("top-p", "top_p"),
        ("num_prediction", "num_predict"),
        ("max_token", "max"),
    ],
)
def test_a_slip_of_the_pen_is_told_with_the_name_that_was_meant(name: str, hint: str) -> None:
    with pytest.raises(CallRejected, match=f"no option {name}: did you mean {hint}") as caught:
        Options.parse({name: 1})
    assert caught.value.field == name


@pytest.mark.parametrize("name", ["num_ctx", "num_gpu", "num_thread"])
def test_an_option_of_the_runner_is_sent_to_its_place(name: str) -> None:
    with pytest.raises(CallRejected, match=r"Call\(runner=") as caught:
        Options.parse({name: 4096})
    assert caught.value.field == name


def test_two_names_of_one_option_must_agree() -> None:
    assert Options.parse({"max_tokens": 5, "num_predict": 5}).num_predict == 5
    with pytest.raises(CallRejected, match="give one"):
        Options.parse({"max_tokens": 5, "num_predict": 6})


def test_options_may_be_a_mapping_too() -> None:
    call = Call((Message("user", "q"),), options={"max_tokens": 4, "temperature": 0})
    assert call.options == Options(num_predict=4, temperature=0.0)
    with pytest.raises(CallRejected, match="temperature"):
        Call((Message("user", "q"),), options={"temprature": 0})


def test_messages_of_other_clients() -> None:
    call = Call(
        [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "tool_calls": None, "refusal": None},
            Message("user", ["c", "d"]),
        ]
    )
    assert call.messages == (
        Message("system", "s"),
        Message("user", "a\nb"),
        Message("assistant", ""),
        Message("user", "c\nd"),
    )


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ("hola", "a sequence of messages"),
        ({"role": "user", "content": "q"}, "a sequence of messages"),
        (None, "a sequence of messages"),
        ([{"content": "q"}], r"messages\[0\] has no role"),
        ([{"role": "user", "content": None}], r"messages\[0\] has no content"),
        ([{"role": "user", "content": 5}], "content of type int"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "part of type 'image_url'"),
        ([{"role": "user", "content": "q", "images": ["..."]}], "holds images"),
        (
            [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [{}]}],
            r"messages\[1\] holds tool_calls",
        ),
        ([None], r"messages\[0\] has no role"),
    ],
)
def test_what_is_not_spoken_is_refused_by_name(messages: object, sentence: str) -> None:
    with pytest.raises(CallRejected, match=sentence) as caught:
        Call(messages)
    assert caught.value.field == "messages"
