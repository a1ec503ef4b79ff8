from fluido.llm.call import Kind, Options
from fluido.llm.presets import DEFAULT_PRESETS, THINKING_FLOOR_TOKENS, Presets

NOTHING = Options()


def test_only_what_is_open_is_filled() -> None:
    asked = Options(temperature=0.0, num_predict=7, stop=("x",))
    filled = Presets().filled(asked, Kind.CODE, author=NOTHING, thinks=False)
    assert filled.temperature == 0.0
    assert filled.num_predict == 7
    assert filled.stop == ("x",)
    assert filled.top_p == DEFAULT_PRESETS[Kind.CODE].top_p


def test_the_authors_word_stands() -> None:
    author = Options(temperature=1.1, num_predict=33)
    filled = Presets().filled(NOTHING, Kind.SHORT, author=author, thinks=False)
    assert filled.temperature is None
    assert filled.num_predict is None


def test_a_thinking_model_is_never_cut_before_it_speaks() -> None:
    filled = Presets().filled(NOTHING, Kind.SHORT, author=NOTHING, thinks=True)
    assert filled.num_predict == THINKING_FLOOR_TOKENS


def test_the_bound_is_learned_and_stays_under_the_preset() -> None:
    presets = Presets()
    for _ in range(30):
        presets.learn(Kind.SHORT, 50, "stop")
    assert presets.bound(Kind.SHORT).tokens == 100
    assert presets.bound(Kind.SHORT).learned_from == 30
    for _ in range(300):
        presets.learn(Kind.SHORT, 5000, "stop")
    assert presets.bound(Kind.SHORT).tokens == DEFAULT_PRESETS[Kind.SHORT].num_predict


def test_answers_that_hit_the_bound_raise_it() -> None:
    presets = Presets()
    for _ in range(30):
        presets.learn(Kind.MEDIUM, 50, "stop")
    low = presets.bound(Kind.MEDIUM).tokens
    for _ in range(30):
        presets.learn(Kind.MEDIUM, low, "length")
    assert presets.bound(Kind.MEDIUM).tokens > low


def test_few_answers_teach_nothing() -> None:
    presets = Presets()
    presets.learn(Kind.LONG, 3, "stop")
    presets.learn(Kind.LONG, 0, "stop")
    assert presets.bound(Kind.LONG).learned_from == 0
