"""`fluido gateway`: the command line. Everything that a file can say, a flag can say."""

import asyncio
import signal
import socket
import sys
from collections.abc import Coroutine
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from fluido.errors import EngineUnavailable

from . import _small as small
from ._app import Gateway
from ._bench import Bench, measured, report
from ._config import DEFAULT_PORT, BadConfig, Config, configured, settings_of
from ._diagnosis import diagnosis, state_of
from ._discovery import Directory
from ._doctor import Finding, Severity, facts, of_engine
from ._keys import BadKeys, Client, Keys, made_secret, new_key
from ._observe import observed, sentences
from ._process import freeze, room_for
from ._words import found, greeting

HOUR_S = 3600.0
KEYS_FILE = Path("fluido-keys.toml")
STYLES = {Severity.SERIOUS: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}

cli = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)
keys_cli = typer.Typer(add_completion=False, rich_markup_mode=None, help="Make and list keys.")
cli.add_typer(keys_cli, name="key")
console = Console(stderr=True, highlight=False, soft_wrap=True)

Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        help="An engine's address, once for each; more after commas: URL,slots=4,window=8192,api=openai,"
        "name=gpu,key=SECRET. [default: what listens on 11434 and 8080 here]",
    ),
]
AwaySeconds = Annotated[
    float | None,
    typer.Option(
        help="How long a call waits while no engine answers; one with a deadline waits until then, at most a "
        "minute. 0: it is told at once. [default: 20]"
    ),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file; flags win over it.")]


@cli.callback(invoke_without_command=True)
def gateway(  # noqa: PLR0917 - each is a flag
    context: typer.Context,
    engine: Engines = None,
    config: ConfigFile = None,
    listen: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help=f"[default: {DEFAULT_PORT}]")] = None,
    keys: Annotated[Path | None, typer.Option(help="File of keys, made by `key new`.")] = None,
    key: Annotated[bool, typer.Option("--key", help="Ask for a key, made now and printed once.")] = False,
    observe: Annotated[
        bool, typer.Option("--observe", help="Schedule nothing; say what would have been changed.")
    ] = False,
    observe_s: Annotated[float, typer.Option(help="With --observe: say it every so many seconds.")] = HOUR_S,
    alias: Annotated[
        list[str] | None, typer.Option(help="Another name of a model: gpt-4o=qwen3:8b. Several times.")
    ] = None,
    wishes: Annotated[
        str | None,
        typer.Option(
            help="What becomes of a caller's num_ctx and the like: resident (kept as loaded), strict "
            "(refused), planned (num_ctx may grow), passthrough (reloads). [default: resident]"
        ),
    ] = None,
    most_context_tokens: Annotated[int | None, typer.Option(help="With planned: at most so many.")] = None,
    manage: Annotated[
        bool, typer.Option("--manage", help="Let everybody pull, create, copy and delete models.")
    ] = False,
    answer_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of an answer whose caller sets no bound.")
    ] = None,
    wait_s: Annotated[float | None, typer.Option(help="Longest time in the queue. [default: 600]")] = None,
    away_s: AwaySeconds = None,
    heartbeat_s: Annotated[
        float | None, typer.Option(help="A sign of life to who waits, every so often. [default: 15]")
    ] = None,
    max_waiting: Annotated[int | None, typer.Option(help="Most calls in a queue. [default: 2000]")] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help="[default: 33554432]")] = None,
    max_waiting_bytes: Annotated[int | None, typer.Option(help="[default: 536870912]")] = None,
    max_connections: Annotated[int | None, typer.Option(help="[default: 10000]")] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="A web page that may call from a browser. Several times.")
    ] = None,
) -> None:
    """Serve Ollama's and OpenAI's APIs in front of your engines, with one fair queue, until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    flags = {
        "engine": engine,
        "listen": listen,
        "port": port,
        "keys": None if keys is None else str(keys.absolute()),
        "observe": observe or None,
        "aliases": _pairs(alias),
        "wishes": wishes,
        "most_context_tokens": most_context_tokens,
        "manage": manage or None,
        "answer_tokens": answer_tokens,
        "wait_s": wait_s,
        "away_s": away_s,
        "heartbeat_s": heartbeat_s,
        "max_waiting": max_waiting,
        "max_body_bytes": max_body_bytes,
        "max_waiting_bytes": max_waiting_bytes,
        "max_connections": max_connections,
        "origins": origin,
    }
    made, secret = _config(config, flags, wants_key=key)
    _need_port(made)
    _until_interrupted(_serve(made, secret, observe_s))


@cli.command()
def doctor(
    engine: Engines = None,
    url: Annotated[str, typer.Option(help="The running gateway.")] = f"http://127.0.0.1:{DEFAULT_PORT}",
    key: Annotated[str, typer.Option(help="A key of it, where it asks for one.")] = "",
) -> None:
    """Say what will hurt in the engines and in what their clients ask for, and how to mend it.

    Exit code 0: nothing hurts; 1: something does; 2: nothing could be looked at.
    """
    made, _ = _config(None, {"engine": engine}, wants_key=False)
    out = Console(highlight=False, soft_wrap=True)
    result = asyncio.run(diagnosis(made, url, key))
    for line in result.looked_at:
        out.print(escape(line), style="dim")
    _show(out, result.findings)
    if not result.looked_at:
        raise typer.Exit(2)
    if not result.findings:
        out.print("Nothing hurts in what was looked at.")
    raise typer.Exit(1 if result.findings else 0)


@cli.command()
def bench(
    engine: Engines = None,
    model: Annotated[str, typer.Option(help="[default: the first that is loaded, else the first]")] = "",
    seconds: Annotated[float, typer.Option(min=2, max=600, help="How long, about.")] = 60.0,
    callers: Annotated[int, typer.Option(min=1, max=64, help="Greedy callers beside the patient one.")] = 4,
    tokens: Annotated[int, typer.Option(min=1, max=512, help="Tokens of an answer.")] = 24,
) -> None:
    """Ask your own engine directly and through a gateway in turns, and say the ratios."""
    made, _ = _config(None, {"engine": engine, "port": 0}, wants_key=False)
    wishes = Bench(model, seconds, callers, tokens)
    out = Console(highlight=False, soft_wrap=True)
    try:
        for line in report(asyncio.run(measured(made, wishes, say=console.print))):
            out.print(escape(line))
    except EngineUnavailable as error:
        _fail(f"{error}")


@keys_cli.command("new")
def new(  # noqa: PLR0917 - each is a flag
    name: str,
    file: Annotated[Path, typer.Option(help="The file of keys; made where it is missing.")] = KEYS_FILE,
    lane: Annotated[str, typer.Option(help="interactive, normal or background.")] = "interactive",
    weight: Annotated[float, typer.Option(help="Share of an engine's time beside others.")] = 1.0,
    model: Annotated[list[str] | None, typer.Option(help="A model it may use, like qwen*. [all]")] = None,
    per_minute: Annotated[int | None, typer.Option(help="Most calls in a minute.")] = None,
    days: Annotated[int | None, typer.Option(help="It expires after so many days.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may pull and delete models.")] = False,
) -> None:
    """Make a key for NAME, keep its hash and print it: it is told this once."""
    try:
        made = new_key(
            file,
            name,
            lane=lane,
            weight=weight,
            models=model or (),
            per_minute=per_minute,
            days=days,
            admin=admin,
        )
    except BadKeys as error:
        _fail(str(error))
    sys.stdout.write(f"{made}\n")
    console.print(
        f"This is the key of {escape(name)}; {escape(str(file))} holds its hash only. Start the gateway with "
        f"--keys {escape(str(file))}. Clients send it as `Authorization: Bearer KEY`; one that knows only an "
        f"address gets http://127.0.0.1:{DEFAULT_PORT}/k/KEY"
    )


@keys_cli.command("list")
def list_keys(
    file: Annotated[Path, typer.Option(help="The file of keys.")] = KEYS_FILE,
) -> None:
    """Say whose keys are in a file."""
    try:
        clients = Keys.load(file).clients
    except BadKeys as error:
        _fail(str(error))
    for client in clients:
        models = ", ".join(client.models) or "all models"
        rate = f", {client.per_minute} a minute" if client.per_minute else ""
        admin = ", may manage models" if client.admin else ""
        sys.stdout.write(
            f"{client.name}: {client.lane.name.lower()}, weight {client.weight:g}, {models}{rate}{admin}\n"
        )


async def _serve(config: Config, secret: str, observe_s: float) -> None:
    """From nothing to a gateway that serves, until it is cancelled."""
    tiny = small.SmallModel()
    try:
        if not config.engines:
            config = await _with_engines(config, tiny)
        server = Gateway(replace(config, max_connections=room_for(config.max_connections)))
        await server.open()
        freeze()
        try:
            for line in found(server.directory.engines):
                console.print(escape(line))
            for line in greeting(config, server.directory.engines, secret):
                console.print(escape(line))
            hurts = [await facts(server.directory, engine) for engine in server.directory.engines]
            _show(console, [each for fact in hurts for each in of_engine(fact)])
            console.print("Ctrl-C stops it.")
            await _tell(server, observe_s if config.observe else None)
        finally:
            await server.close()
    except EngineUnavailable as error:
        _fail(str(error))
    finally:
        await tiny.stop()


async def _with_engines(config: Config, tiny: small.SmallModel) -> Config:
    """The engines on this machine's usual ports, else the small model."""
    async with Directory() as directory:
        here = {engine.url for engine in directory.engines}
        engines = tuple(each for each in directory.given if each.url in here)
    if not engines:
        if wants := small.missing():
            _fail(
                "No engine was found on 127.0.0.1:11434 (Ollama) or 127.0.0.1:8080 (llama.cpp's server). "
                "Start one, name one with --engine http://HOST:PORT, or install a small model to try this "
                f"with: {wants}"
            )
        console.print(
            "No engine was found on ports 11434 and 8080: starting a small model that knows little."
        )
        engines = (await tiny.start(),)
    return replace(config, engines=engines)


async def _tell(server: Gateway, every_s: float | None) -> None:
    """Wait for the end; an observer says what it saw now and then, and at the end."""
    if every_s is None:
        await asyncio.get_running_loop().create_future()
        return
    try:
        while True:
            await asyncio.sleep(every_s)
            for sentence in sentences(observed(server.seen.kept)):
                console.print(escape(sentence))
    finally:
        for sentence in sentences(observed(server.seen.kept)):
            console.print(escape(sentence))


def _config(file: Path | None, flags: dict[str, Any], *, wants_key: bool) -> tuple[Config, str]:
    """The settings of a file with those of the flags over them, and the key that was made for this run."""
    given = {name: value for name, value in flags.items() if value is not None}
    secret = ""
    try:
        if file is not None:
            given = {**settings_of(file), **given}
        if wants_key:
            secret = made_secret()
        more = [(secret, Client("first", admin=True))] if secret else []
        return configured(given, folder=file.parent if file else None, more_keys=more), secret
    except (BadConfig, BadKeys) as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(2) from None


def _pairs(given: list[str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    pairs = [each.partition("=") for each in given]
    if wrong := next((name for name, is_pair, model in pairs if not (name and is_pair and model)), None):
        console.print(f"[red]--alias is NAME=MODEL, as gpt-4o=qwen3:8b, not {escape(wrong)}[/red]")
        raise typer.Exit(2)
    return {name: model for name, _, model in pairs}


def _need_port(config: Config) -> None:
    """Say that the port is taken before anything is started."""
    family = socket.AF_INET6 if ":" in config.listen else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.listen, config.port))
        except OSError as error:
            who = "a fluido gateway listens there already" if state_of(config.url) else error.strerror
            _fail(
                f"Port {config.port} on {config.listen} cannot be used ({who}): stop what listens there, or "
                f"choose another with --port {min(65535, config.port + 1)}."
            )


def _show(out: Console, findings: list[Finding]) -> None:
    for finding in sorted(findings, key=lambda each: -each.severity):
        style = STYLES[finding.severity]
        out.print(f"[{style}]{finding.severity.name.lower()}[/{style}] {escape(finding.says)}")
        out.print(f"  {escape(finding.mend)}")


def _until_interrupted(main: Coroutine[None, None, None]) -> None:
    """Run `main` to its end. The first signal cancels it, which closes everything in order."""

    async def whole() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - we are in one
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        try:
            await main
        except asyncio.CancelledError:
            console.print("The gateway has stopped.")

    run = import_module("uvloop" if find_spec("uvloop") else "asyncio").run  # Windows has no uvloop
    run(whole())


def _fail(sentence: str) -> NoReturn:
    console.print(f"[red]{escape(sentence)}[/red]")
    raise typer.Exit(1)


def main(arguments: list[str]) -> None:
    """Run the command line `fluido gateway ARGUMENTS`."""
    cli(arguments, prog_name="fluido gateway")
