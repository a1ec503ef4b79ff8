import pytest

from fluido.llm import CallRejected, Options


def test_options_fill_only_what_is_open() -> None:
    mine = Options(num_predict=5, temperature=0.0)
    other = Options(num_predict=9, temperature=0.7, top_p=0.9, stop=("x",))
    assert mine.filled(other) == Options(num_predict=5, temperature=0.0, top_p=0.9, stop=("x",))


def test_options_parse_takes_whole_numbers_and_lists() -> None:
    parsed = Options.parse({"num_predict": 8.0, "temperature": 1, "stop": "end", "seed": None})
    assert parsed == Options(num_predict=8, temperature=1.0, stop=("end",))
    assert parsed.given() == {"num_predict": 8, "temperature": 1.0, "stop": ("end",)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_predict", "many"),
        ("num_predict", 1.5),
        ("num_predict", float("inf")),
        ("num_predict", True),
        ("temperature", "hot"),
        ("temperature", float("nan")),
        ("stop", 5),
        ("stop", ["a", 1]),
        ("seed", {}),
    ],
)
def test_a_wrong_type_names_the_option(name: str, value: object) -> None:
    with pytest.raises(CallRejected) as caught:
        Options.parse({name: value})
    assert caught.value.field == name
