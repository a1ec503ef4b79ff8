"""`python -m app`: Sentinel on what the environment names, and on the embedded ground for the rest."""

# ruff: noqa: E402 - the first lines are there for whoever changes his mind while the rest is imported
import signal

# The imports take seconds on a slow machine: Ctrl-C ends them as it ends `sleep`, without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import asyncio
import platform
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape

import fluido
from app.core.explained import explained, table, troubles, unknown
from app.core.failures import SentinelError
from app.core.secrets import scrubbed
from app.core.settings import Settings, environment
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.db.migrate import migrate as apply_migrations
from app.db.upkeep import Upkeep
from app.doctor.findings import findings
from app.doctor.look import Addresses, EngineAddress, look
from app.doctor.report import exit_code, show
from app.doctor.texts import Language, language
from app.server import server

try:
    import embedded
except ModuleNotFoundError:
    sys.exit(
        "`python -m app` brings its servers from the source tree, which is not here: set DATABASE_URL, "
        "REDIS_URL and OLLAMA_URL and serve `app.main:app` with any ASGI server (`uvicorn app.main:app`)."
    )

DATA = Path(__file__).parents[2] / ".sentinel"

cli = typer.Typer(add_completion=False, help="Sentinel: a chat backend whose buffers tune themselves.")
console = Console(stderr=True, highlight=False, soft_wrap=True)


Host = Annotated[str | None, typer.Option("--host", help="Instead of SENTINEL_HOST. [default: 127.0.0.1]")]
Port = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Instead of SENTINEL_PORT. [default: 8000]")
]


def _tell_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"Sentinel {fluido.__version__} on Python {platform.python_version()}\n")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the conversations of earlier runs.")] = False,
    host: Host = None,
    port: Port = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_tell_version,
            help="Say it, and end.",
        ),
    ] = False,
) -> None:
    """Serve Sentinel until Ctrl-C, on servers of its own where the environment names none."""
    if context.invoked_subcommand is not None:
        return
    settings = _settings(host, port)
    _need_port(settings)
    try:
        _until_interrupted(_serve(settings, is_fresh=fresh))
    except embedded.GroundError as error:
        _fail(str(error))


@cli.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Serve Sentinel on what the environment names, and start nothing else: for a service manager."""
    settings = _settings(host, port)
    try:
        settings.required_database_url()
    except ValueError as error:
        _fail(str(error))
    _need_port(settings)
    _until_interrupted(server(settings).serve())


@cli.command()
def migrate() -> None:
    """Apply the schema's migrations to DATABASE_URL."""
    settings = _settings()
    try:
        db = DynamicPostgreSQLSession(settings.required_database_url())
        asyncio.run(_migrate(db))
    except (OSError, ValueError) as error:
        _fail(str(error))
    console.print("The schema is current.")


@cli.command("settings")
def show_settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of docs/operations.md.")] = False,
) -> None:
    """Say every setting: its value, where that came from, its default and its meaning. Secrets are masked."""
    if markdown:
        sys.stdout.write(f"{table()}\n")
        return
    out = Console(highlight=False, soft_wrap=True)
    for each in explained(_settings()):
        out.print(f"[bold]{each.name}[/bold] = {escape(each.value) or '[dim](empty)[/dim]'}")
        default = "" if each.source == "default" else f"; default: {each.default or 'empty'}"
        out.print(f"    from {escape(each.source)}{escape(default)}", style="dim")
        out.print(f"    {escape(each.meaning)}")


@cli.command()
def adopt(
    tenant: Annotated[str, typer.Argument(help="A name of SENTINEL_TENANT_KEYS, or key-... of an API key.")],
    user: Annotated[str | None, typer.Option(help="Only what is this user's. [default: everybody's]")] = None,
) -> None:
    """Give the conversations that belong to no tenant (from before there were keys) to one."""
    settings = _settings()
    known = sorted(set(settings.keys().values()))
    if tenant not in known:
        _fail(
            f"There is no tenant {tenant!r} among the keys of this environment: {', '.join(known) or 'none'}."
        )
    try:
        db = DynamicPostgreSQLSession(settings.required_database_url())
        count = asyncio.run(_adopt(db, tenant, user))
    except (OSError, ValueError, SentinelError) as error:
        _fail(str(error))
    console.print(f"{count} conversations belong to {tenant} now.")


@cli.command()
def doctor(
    replica: Annotated[
        list[str] | None,
        typer.Option(help="Address of a Sentinel, once per replica. [default: http://HOST:PORT]"),
    ] = None,
    key: Annotated[str, typer.Option(help="A key of the replicas, where they ask for one.")] = "",
    lang: Annotated[str, typer.Option(help="es or en. [default: what LANG says]")] = "",
) -> None:
    """Say what will hurt and how to mend it, of the servers that the environment names or `make run` started.

    Exit code 0: everything was looked at and nothing hurts; 1: findings; 2: nothing could be looked at; 3:
    nothing hurts in what was looked at, which was not everything.
    """
    if lang not in {"", "es", "en"}:
        _fail(f"--lang is es or en, not {lang}.")
    settings = _settings()
    keys = list(settings.keys())
    here = embedded.noted(settings.data_dir or DATA)  # what `make run` started
    own = here.get("sentinel_url") or f"http://{_shown(settings.host)}:{settings.port}"
    addresses = Addresses(
        replicas=tuple(replica or [own]),
        database_url=settings.database_url or here.get("database_url"),
        redis_url=settings.redis_url or here.get("redis_url"),
        engines=_engines(settings) or _noted(here.get("engine_url", "")),
        key=key or next(iter(keys), ""),
    )
    facts = asyncio.run(look(addresses))
    found = findings(facts)
    chosen: Language = "es" if lang == "es" else "en" if lang == "en" else language(environment())
    show(Console(highlight=False), facts, found, chosen)
    raise typer.Exit(exit_code(facts, found))


def _engines(settings: Settings) -> tuple[EngineAddress, ...]:
    """Every address of OPENAI_URL and OLLAMA_URL, with the key of its kind and the headers of all."""
    headers = {name: value.get_secret_value() for name, value in settings.engine_headers.items()}
    given = (
        (settings.openai_url, settings.openai_api_key),
        (settings.ollama_url, settings.ollama_api_key),
    )
    return tuple(
        EngineAddress(url.strip(), key.get_secret_value(), headers)
        for urls, key in given
        for url in (urls or "").split(",")
        if url.strip()
    )


def _noted(urls: str) -> tuple[EngineAddress, ...]:
    return tuple(EngineAddress(url.strip()) for url in urls.split(",") if url.strip())


def _until_interrupted(main: Coroutine[None, None, None]) -> None:
    """Run `main` to its end. Ctrl-C cancels it once; more of them change nothing, the servers are
    stopping.
    """

    async def whole() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - we are in one
        is_told = False

        def stop(*_: object) -> None:
            nonlocal is_told
            if not is_told:
                is_told = True
                loop.call_soon_threadsafe(task.cancel)

        signal.signal(signal.SIGINT, stop)
        await main

    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        uvloop.run(whole())


async def _adopt(db: DynamicPostgreSQLSession, tenant: str, user: str | None) -> int:
    try:
        return await Upkeep(db.engine).adopt(tenant, user)
    finally:
        await db.close()


async def _migrate(db: DynamicPostgreSQLSession) -> None:
    try:
        await apply_migrations(db.engine)
    finally:
        await db.close()


async def _serve(settings: Settings, *, is_fresh: bool) -> None:
    given_engines = settings.openai_url or settings.ollama_url or ""
    async with embedded.stack(
        data_dir=settings.data_dir or DATA,
        fresh=is_fresh,
        database_url=settings.database_url,
        redis_url=settings.redis_url,
        engine_url=given_engines.split(",")[0].strip() or None,
        engine_speaks_openai=settings.openai_url is not None,
        model=settings.model,
        detect_ollama=True,
        say=console.print,
    ) as ground:
        # What OPENAI_URL says is taken as said. An OLLAMA_URL may be a llama.cpp server; else it is ours.
        engine: dict[str, str | None] = {}
        if settings.openai_url is None and "," not in given_engines:
            is_ollama = ground.engine_kind == "ollama"
            engine = {"ollama_url": None, f"{'ollama' if is_ollama else 'openai'}_url": ground.engine_url}
        ready = settings.on(
            database_url=settings.database_url or ground.database_url,
            redis_url=settings.redis_url or ground.redis_url,
            model=settings.model or ground.model,
            **engine,
        )
        console.print("[bold]Sentinel[/bold] runs on")
        for line in ground.describe():
            console.print(f"  {line}")
        if shells := ground.shells():
            console.print("To look inside, paste")
            for line in shells:
                console.print(f"  {escape(line)}")
        url = f"http://{_shown(settings.host)}:{settings.port}"
        ground.note(sentinel_url=url, engine_url=given_engines or ground.engine_url)
        console.print("`make doctor` in another terminal looks at all of this.")
        console.print(
            f"Open [bold]http://{_shown(settings.host)}:{settings.port}/[/bold]   (Ctrl-C stops everything)"
        )
        await server(ready).serve()
    console.print("Sentinel has stopped.")


def _settings(host: str | None = None, port: int | None = None) -> Settings:
    """What the environment says; an option of the command line wins."""
    given = {"host": host, "port": port}
    for sentence in unknown():
        console.print(f"[yellow]{escape(sentence)}[/yellow]")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except (ValidationError, SettingsError) as error:
        for sentence in troubles(error):
            console.print(f"[red]{escape(sentence)}[/red]")
        raise typer.Exit(2) from None


def _need_port(settings: Settings) -> None:
    """Say that the port is taken before any server is started."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            _fail(
                f"Port {settings.port} on {settings.host} cannot be used ({error.strerror}): "
                "stop what listens there, or choose another with PORT=8001 or --port 8001."
            )


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _fail(sentence: str) -> NoReturn:
    console.print(f"[red]{escape(scrubbed(sentence))}[/red]")
    raise typer.Exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(cli())
    except KeyboardInterrupt:
        sys.exit(130)
