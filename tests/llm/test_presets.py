from fluido.llm._call import Kind, Options
from fluido.llm.prompt._presets import THINKING_FLOOR_TOKENS, Presets

NOTHING = Options()
POLICY = {
    Kind.SHORT: Options(num_predict=256, temperature=0.3, top_p=0.9),
    Kind.CODE: Options(num_predict=1536, temperature=0.2, top_p=0.95, repeat_penalty=1.1),
}


def test_the_library_has_no_policy() -> None:
    for kind in Kind:
        assert Presets().filled(NOTHING, kind, author=NOTHING, thinks=True) == NOTHING


def test_only_what_is_open_is_filled() -> None:
    asked = Options(temperature=0.0, num_predict=7, stop=("x",), more={"mirostat": 1})
    filled = Presets(POLICY).filled(asked, Kind.CODE, author=NOTHING, thinks=True)
    assert filled.temperature == 0.0
    assert filled.num_predict == 7, "a caller's bound stays, thoughts or not"
    assert filled.stop == ("x",)
    assert filled.top_p == 0.95
    assert filled.more == {"mirostat": 1}


def test_the_authors_word_stands() -> None:
    author = Options(temperature=1.1, num_predict=33)
    filled = Presets(POLICY).filled(NOTHING, Kind.SHORT, author=author, thinks=False)
    assert filled.temperature is None
    assert filled.num_predict is None


def test_a_thinking_model_is_never_cut_before_it_speaks() -> None:
    presets = Presets(POLICY)
    filled = presets.filled(NOTHING, Kind.SHORT, author=NOTHING, thinks=True)
    assert filled.num_predict == THINKING_FLOOR_TOKENS
    assert presets.filled(NOTHING, Kind.CODE, author=NOTHING, thinks=True).num_predict == 4 * 1536


def test_a_plain_server_gets_only_what_all_take() -> None:
    filled = Presets(POLICY).filled(NOTHING, Kind.CODE, author=NOTHING, thinks=False, plain=True)
    assert filled.repeat_penalty is None
    assert filled.temperature == 0.2
    mine = Options(repeat_penalty=1.3)
    kept = Presets(POLICY).filled(mine, Kind.CODE, author=NOTHING, thinks=False, plain=True)
    assert kept.repeat_penalty == 1.3
