"""What is told of requests: sums by client, other options asked for, what a queue would have changed."""

from prometheus_client.parser import text_string_to_metric_families as families

from fluido.gateway._observe import observed, sentences
from fluido.gateway._prometheus import text
from fluido.gateway._seen import KEPT, LAST, MOST_OPTIONS, MOST_ROWS, Request, Seen, client_name


def request(at_s: float, client: str = "Open WebUI", **more: object) -> Request:
    return Request(at_s, client, model="m", engine="e", total_s=1.0, **more)  # type: ignore[arg-type]


def test_options_that_make_an_engine_reload_are_told_with_both_clients() -> None:
    home = {"asked": {"num_ctx": 8192}, "load_s": 4.0}
    requests = [request(float(n), "Home Assistant" if n % 2 else "Open WebUI") for n in range(2)]
    requests = [
        request(10.0, "Open WebUI", load_s=4.0),
        request(20.0, "Home Assistant", **home),
        request(30.0, "Open WebUI", load_s=4.0),
        request(40.0, "Open WebUI"),
        request(50.0, "Home Assistant", **home),
    ]
    found = observed(requests)
    assert (found.loads, found.needless_loads, found.load_s) == (4, 3, 16.0)
    told = " ".join(sentences(found))
    assert "3 of 4 loads came from clients that ask for different options" in told
    assert "Home Assistant num_ctx 8192, Open WebUI without options" in told
    assert "16 s went into loading" in told


def test_a_first_load_and_another_model_are_no_needless_ones() -> None:
    found = observed([request(1.0, load_s=3.0), Request(2.0, "x", model="n", engine="e", load_s=3.0)])
    assert (found.loads, found.needless_loads) == (2, 0)
    assert "Nothing that the queue would have changed" in sentences(found)[-1]


def test_who_starved_whom() -> None:
    crowd = [
        Request(10.0 + n, "n8n", model="m", engine="e", queue_s=0.0, decode_s=10.0, total_s=10.0)
        for n in range(4)
    ]
    # came at 4, began at 12
    person = Request(13.0, "Open WebUI", model="m", engine="e", queue_s=8.0, decode_s=1.0, total_s=9.0)
    elsewhere = Request(12.0, "Continue", model="m", engine="other", decode_s=9.0, total_s=9.0)
    found = observed([*crowd, person, elsewhere])
    assert found.starved == {("Open WebUI", "n8n"): 8.0}
    assert found.waited == 1
    assert found.wait_s_longest == 8.0
    assert "Open WebUI waited 8 s in all while calls of n8n were computed" in sentences(found)[-1]


def test_cut_prompts_are_told() -> None:
    found = observed([request(1.0, lost_tokens=900), request(2.0, "Continue", key="ana", lost_tokens=100)])
    assert (found.cut, found.cut_tokens) == (2, 1000)
    assert (
        "2 prompts were cut in silence, 1000 tokens in all (Open WebUI, ana (Continue))"
        in sentences(found)[1]
    )


def test_nobody_asked_yet() -> None:
    assert sentences(observed([])) == ["Nobody has asked anything yet."]
    assert observed([Request(1.0, outcome="refused")]).requests == 0


def test_sums_by_client_key_and_model() -> None:
    seen = Seen(clock=lambda: 5.0)
    seen.note(request(1.0, key="ana", queue_s=2.0, prefill_s=1.0, decode_s=3.0, prompt_tokens=10))
    seen.note(request(2.0, key="ana", queue_s=4.0, outcome="left", output_tokens=7))
    seen.note(request(3.0, key="bea", outcome="refused", status=429))
    bea, ana = seen.rows
    assert (ana.requests, ana.left, ana.queue_s, ana.longest_queue_s, ana.service_s) == (2, 1, 6.0, 4.0, 4.0)
    assert (ana.prompt_tokens, ana.output_tokens, ana.last_s) == (10, 7, 2.0)
    assert (bea.key, bea.requests, bea.refused) == ("bea", 1, 1)
    assert [each.key for each in seen.last] == ["bea", "ana", "ana"]


def test_who_asked_for_other_options() -> None:
    seen = Seen()
    for _ in range(3):
        seen.note(
            request(1.0, "Home Assistant", asked={"num_ctx": 8192, "num_gpu": 1}, kept={"num_ctx": 32768})
        )
    seen.note(request(2.0, asked={"num_ctx": 32768}, kept={"num_ctx": 32768}))
    assert seen.differing == (("Home Assistant", "m", "num_ctx", 8192, 32768, 3),)


def test_everything_kept_is_bounded() -> None:
    seen = Seen()
    for n in range(KEPT + 10):
        seen.note(request(float(n), f"client {n}", asked={"num_ctx": n}, kept={"num_ctx": -1}))
    assert (len(seen.kept), len(seen.last), len(seen.rows)) == (KEPT, LAST, MOST_ROWS)
    assert len(seen.differing) == MOST_OPTIONS
    assert seen.total == KEPT + 10
    assert seen.last[0].client == f"client {KEPT + 9}"


def test_metrics_can_be_read_by_prometheus() -> None:
    seen = Seen()
    seen.note(request(1.0, 'odd "name"\\\nof a client', queue_s=0.25, output_tokens=3))
    read = {family.name: family for family in families(text(seen.rows, (), ()))}
    (sample,) = read["fluido_gateway_queue_seconds"].samples
    assert sample.labels == {"client": 'odd "name"\\\nof a client', "key": "", "model": "m"}
    assert sample.value == 0.25
    assert read["fluido_gateway_requests"].type == "counter"


def test_programs_are_named_as_their_users_call_them() -> None:
    agents = {
        b"OpenAI/Python 3.57.0": "openai package",
        b"AsyncOpenAI/Python 3.57.0": "openai package",
        b"ollama-python/0.6.3 (x86_64 linux) Python/3.11": "ollama package",
        b"ollama/0.20.0 (amd64 linux) Go/go1.24": "ollama command",
        b"curl/8.5.0": "curl",
        b"": "unnamed",
        b"\xff\xfe": "unnamed",
        b"x" * 500: "x" * 60,
    }
    for agent, name in agents.items():
        assert client_name({b"user-agent": agent}) == name
    assert client_name({b"user-agent": b"Python/3.11", b"x-openwebui-user-id": b"1"}) == "Open WebUI"
    assert client_name({}) == "unnamed"
