"""`fluido` or `python -m fluido`: the version, and which extras are installed; `fluido gateway` serves."""

import platform
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from fluido import __version__
from fluido._extras import need

# The door of each extra, and the packages whose versions decide what it can do.
EXTRAS = {
    "redis": ("fluido.redis", ("redis", "hiredis")),
    "sqlalchemy": ("fluido.sqlalchemy", ("sqlalchemy", "asyncpg", "psycopg")),
    "llm": ("fluido.llm", ("aiohttp",)),
    "gateway": ("fluido.gateway", ("aiohttp", "httptools", "msgspec", "uvloop")),
    "prometheus": ("fluido.telemetry.prometheus", ("prometheus-client",)),
    "opentelemetry": ("fluido.telemetry.opentelemetry", ("opentelemetry-api",)),
}


def state(door: str, packages: tuple[str, ...]) -> str:
    """The versions behind a door, or why it does not open."""
    try:
        import_module(door)
    except ImportError as error:
        return f"not installed: {error}"
    return ", ".join(f"{name} {found}" for name in packages if (found := installed(name)))


def installed(name: str) -> str:
    """The version of a package, or nothing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def gateway(arguments: list[str]) -> None:
    """`fluido gateway`, where its extra is installed."""
    try:
        need("gateway", "typer", "rich")
        cli = import_module("fluido.gateway._cli")
    except ImportError as error:
        sys.exit(str(error))
    cli.main(arguments)


def main() -> None:
    """Print one line for fluido and one for each extra, or run the command that was named."""
    match sys.argv[1:]:
        case ["gateway", *arguments]:
            gateway(arguments)
        case [] | ["--version"]:
            print(f"fluido {__version__}, Python {platform.python_version()}")
            for extra, (door, packages) in EXTRAS.items():
                print(f"  {extra:<14} {state(door, packages)}")
        case ["--help" | "-h", *_]:
            print("fluido             the version, and which extras are installed")
            print("fluido gateway     a queue in front of your LLM engines (fluido gateway --help)")
        case [word, *_]:
            sys.exit(f"there is no command {word!r}: fluido, or fluido gateway (fluido gateway --help)")


if __name__ == "__main__":
    main()
