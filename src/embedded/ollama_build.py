"""Build the real Ollama into the cache folder: `python -m embedded.ollama_build [VERSION]`. 3 to 5 minutes on
2 cores.

`go install` builds it for the CPU once three header libraries are on the include path that the module archive
leaves out: miniaudio.h (inside the source archive of the Python package `miniaudio`), stb and nlohmann-json
(Debian packages, or what is installed).
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from embedded.archive import REQUIREMENTS
from embedded.errors import GroundError
from embedded.folder import cache_folder, need_space, whole_folder
from embedded.ollama import VERSION

MODULE = "github.com/ollama/ollama"
BUILD_WAIT_S = 3600.0
FETCH_WAIT_S = 300.0
INSTALLED = (Path("/usr/include"), Path("/usr/local/include"), Path("/opt/homebrew/include"))
DEBIAN = {"stb/stb_image.h": "libstb-dev", "nlohmann/json.hpp": "nlohmann-json3-dev"}
# several times faster than the baseline of x86-64, where the processor has them
FASTER = {"avx2": "-mavx2", "fma": "-mfma", "f16c": "-mf16c", "bmi2": "-mbmi2"}


def build(say: Callable[[str], None], version: str = VERSION) -> Path:
    """The program, built if it is not there yet. GroundError says what is missing."""
    target = cache_folder() / f"ollama-{version}"
    if not target.exists():
        need_tools()
        need_space(target.parent, 4096, "building Ollama")
        whole_folder(target, lambda part: _build(part, say, version))
    return target / "ollama"


def need_tools() -> None:
    for tool, what in (("go", "Go 1.24 or newer"), ("cc", "a C compiler"), ("c++", "a C++ compiler")):
        if shutil.which(tool) is None:
            raise GroundError(
                f"Building Ollama needs {what} (`{tool}` on the PATH): install it and try again."
            )


def processor_flags(cpuinfo: str | None = None) -> str:
    """Compiler flags for what this processor can do; only x86-64 has any to add."""
    if platform.machine() not in {"x86_64", "amd64"}:
        return "-O3"
    if cpuinfo is None:
        listing = Path("/proc/cpuinfo")
        cpuinfo = listing.read_text() if listing.exists() else ""
    lines = [line for line in cpuinfo.splitlines() if line.startswith("flags")]
    has = set(lines[0].split()) if lines else set()
    return " ".join(["-O3", *(flag for name, flag in FASTER.items() if name in has)])


def _build(part: Path, say: Callable[[str], None], version: str) -> None:
    work = part / "work"
    include = work / "include"
    include.mkdir(parents=True)
    say("fetching three header libraries")
    fetch_miniaudio(work, include)
    fetch_debian(work, include)
    flags = f"{processor_flags()} -I{include}"
    environment = {
        **os.environ,
        "GOBIN": str(part),
        "GOMODCACHE": str(work / "modules"),
        "GOCACHE": str(work / "objects"),
        "GOFLAGS": "-modcacherw",
        "CGO_ENABLED": "1",
        "CGO_CFLAGS": flags,
        "CGO_CXXFLAGS": flags,
    }
    say(f"building {MODULE}@{version} with {flags.partition(' -I')[0]}: this takes some minutes")
    number = f"-X={MODULE}/version.Version={version.removeprefix('v')}"
    _run(["go", "install", f"-ldflags={number}", f"{MODULE}@{version}"], work, BUILD_WAIT_S, environment)
    shutil.rmtree(work)
    part.chmod(0o755)


def fetch_miniaudio(work: Path, include: Path) -> None:
    down = work / "miniaudio"
    ask = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    ask += [
        "--no-binary",
        ":all:",
        "--require-hashes",
        "-r",
        str(REQUIREMENTS / "ollama.txt"),
        "-d",
        str(down),
    ]
    _run(ask, work, FETCH_WAIT_S)
    (archive,) = down.glob("miniaudio-*.tar.gz")
    header = f"{archive.name.removesuffix('.tar.gz')}/miniaudio/miniaudio.h"
    with tarfile.open(archive) as packed:
        source = packed.extractfile(header)
        if source is None:
            raise GroundError(f"{archive.name} holds no {header}.")
        place = include / "miniaudio" / "miniaudio.h"
        place.parent.mkdir()
        place.write_bytes(source.read())


def fetch_debian(work: Path, include: Path) -> None:
    """Headers that are installed are linked; the others are unpacked from Debian packages, not installed."""
    for header, package in DEBIAN.items():
        folder = Path(header).parts[0]
        here = next((base / folder for base in INSTALLED if (base / header).exists()), None)
        if here is None:
            if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
                raise GroundError(
                    f"Building Ollama needs {header}, and this machine has no apt-get to fetch it with: "
                    f"put it below {INSTALLED[1]} (Debian's package is {package}) and try again."
                )
            down = work / package
            down.mkdir()
            _run(["apt-get", "download", package], down, FETCH_WAIT_S)
            (archive,) = down.glob("*.deb")
            _run(["dpkg-deb", "-x", str(archive), str(down)], down, FETCH_WAIT_S)
            here = down / "usr" / "include" / folder
        (include / folder).symlink_to(here)


def _run(
    arguments: list[str], folder: Path, wait_s: float, environment: dict[str, str] | None = None
) -> None:
    try:
        result = subprocess.run(
            arguments,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=wait_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GroundError(f"`{' '.join(arguments[:3])}` did not end within {wait_s:.0f} s.") from error
    if result.returncode:
        said = "\n".join("  " + line for line in result.stderr.splitlines()[-12:])
        hint = " (`apt-get update` may be due)" if arguments[0] == "apt-get" else ""
        raise GroundError(f"`{' '.join(arguments[:3])}` failed{hint}; it said last:\n{said}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded.ollama_build", description=__doc__)
    parser.add_argument("version", nargs="?", default=VERSION, help="such as v0.8.0 (%(default)s)")
    version = parser.parse_args().version
    try:
        program = build(lambda line: print(line, flush=True), version)
    except GroundError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Ollama is at {program}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
