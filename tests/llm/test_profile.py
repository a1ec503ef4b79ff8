from fluido.llm._profile import Profiles, RunnerProfile, runner_notes, runner_part


def test_a_profile_is_settled_once() -> None:
    profiles = Profiles()
    first = profiles.settle("m", resident_tokens=2048, modelfile_tokens=8192)
    assert first.num_ctx == 2048
    assert profiles.settle("m", resident_tokens=4096, modelfile_tokens=0) is first


def test_configuration_then_resident_then_modelfile() -> None:
    profiles = Profiles({"a": RunnerProfile(num_ctx=1), "*": RunnerProfile(num_thread=2)})
    assert profiles.settle("a", resident_tokens=5, modelfile_tokens=6).num_ctx == 1
    other = profiles.settle("b", resident_tokens=0, modelfile_tokens=6)
    assert other == RunnerProfile(num_ctx=6, num_thread=2)
    assert Profiles().settle("c", resident_tokens=0, modelfile_tokens=0) == RunnerProfile()


def test_who_asks_otherwise_is_told() -> None:
    runner = RunnerProfile(num_ctx=2048).given()
    asked = runner_part({"num_ctx": 4096, "temperature": 1, "num_gpu": 0})
    assert asked == {"num_ctx": 4096, "num_gpu": 0}
    notes = runner_notes(asked, runner)
    assert len(notes) == 2
    assert "num_ctx=4096 was not applied" in notes[0]
    assert runner_notes({"num_ctx": 2048}, runner) == ()
