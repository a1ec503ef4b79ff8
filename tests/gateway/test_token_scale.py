"""What an engine counts corrects our guess: by prompts that are text, and not by a template's own words."""

from fluido.gateway._flow import Ratio


def test_short_prompts_do_not_make_a_long_one_five_times_as_long() -> None:
    """Seen on SmolLM2: its template adds 24 tokens, so "Name a fruit." is 34 where 10 were guessed."""
    scale = Ratio()
    for _ in range(20):
        scale.learn(10, 34)
    assert scale.of(10) == 34
    assert scale.of(4000) == 4024


def test_long_prompts_are_believed() -> None:
    scale = Ratio()
    for _ in range(30):
        scale.learn(4000, 8000)
        scale.learn(10, 34)
    assert 7900 < scale.of(4000) < 8100
    scale.learn(4000, 10**9)
    assert scale.of(4000) < 12_000
