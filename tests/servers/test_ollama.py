"""The real Ollama starts beside any other, has our model and answers."""

import httpx
import psutil
import pytest

import embedded
from embedded.outside import find_engine, find_ollama

pytestmark = pytest.mark.ollama


def test_it_has_the_model_and_streams(ollama_engine: embedded.Ollama) -> None:
    body = {
        "model": ollama_engine.model.name,
        "messages": [{"role": "user", "content": "hello"}],
        "options": {"num_predict": 8},
    }
    with httpx.stream("POST", f"{ollama_engine.url}/api/chat", json=body, timeout=60) as reply:
        lines = list(reply.iter_lines())
    assert len(lines) >= 8
    assert '"done":true' in lines[-1]
    assert '"eval_count":8' in lines[-1]


def test_it_is_found_as_an_ollama_from_outside(ollama_engine: embedded.Ollama) -> None:
    found = find_engine(ollama_engine.url)
    assert (found.kind, found.model) == ("ollama", "synthetic:1")
    assert find_ollama(ollama_engine.url) == found
    assert "Ollama 0." in ollama_engine.describe()


def test_a_killed_one_leaves_no_runner_and_comes_back(ollama_engine: embedded.Ollama) -> None:
    assert ollama_engine.child is not None
    processes = [psutil.Process(ollama_engine.child.pid), *psutil.Process(ollama_engine.child.pid).children()]
    assert len(processes) == 2
    url = ollama_engine.url
    ollama_engine.child.kill()
    assert not psutil.wait_procs(processes, timeout=5)[1]
    ollama_engine.start()
    assert ollama_engine.url == url
    assert ollama_engine.has_model()
