"""What every server of the ground shares: a free loopback port, a start that is retried if it is lost."""

import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from pathlib import Path

from embedded.errors import GroundError
from embedded.ports import free_port
from embedded.process import Child, Command, end_leftover

BUSY_PORT_TRIES = 3
BUSY = ("address already in use", "couldn't bind", "could not bind")


class Server(ABC):
    """One server. Inert when built; `start()` and `stop()` may be repeated, and a restart keeps the port.

    `port=None` takes a free port at the first start. `wanted` is true between start() and stop(), also when
    the server has died. Threads may call it: stop() ends a start() that another thread waits in.
    """

    name: str
    start_wait_s = 60.0

    def __init__(self, data_dir: Path, *, folder: str, port: int | None) -> None:
        self.data_dir = data_dir
        self.folder = data_dir / folder
        self.log = data_dir / "log" / f"{folder}.log"
        self.run_file = data_dir / "run" / f"{folder}.json"
        self.child: Child | None = None
        self.wanted = False
        self._changing = threading.Lock()
        self.told_to_stop = threading.Event()
        self._port = port
        self._port_is_given = port is not None

    @property
    def port(self) -> int:
        if self._port is None:
            raise GroundError(f"{self.name} has no port before its first start.")
        return self._port

    def take_port(self) -> int:
        """Choose the port before the first start, for those who must be told of it."""
        if self._port is None:
            self._port = free_port()
        return self._port

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.running

    @property
    def exit_code(self) -> int | None:
        """How the server ended, 128 + N if signal N ended it; None while it runs."""
        return None if self.child is None else self.child.exit_code

    @abstractmethod
    def prepare(self) -> None:
        """Find the program, make the data if there is none, repair what a killed run left."""

    @abstractmethod
    def command(self) -> Command: ...

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does its work now; one bounded question, no waiting."""

    @abstractmethod
    def describe(self) -> str:
        """One line for people: what runs, where it listens, where its data is."""

    def start(self) -> None:
        """Return when the server answers; GroundError with a sentence when it cannot, and nothing is left."""
        with self._changing:
            self.told_to_stop.clear()
            if not self.running:
                self._start()
            self.wanted = True

    def start_again(self) -> None:
        """Start a server that died, unless somebody stopped it in the meantime."""
        with self._changing:
            if self.wanted and not self.running:
                self._start()

    def _start(self) -> None:
        try:
            self._start_on_a_port()
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GroundError(f"{self.name} cannot start: {error}.") from error

    def _start_on_a_port(self) -> None:
        for folder in (self.log.parent, self.run_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        for attempt in range(1, BUSY_PORT_TRIES + 1):
            if self._port is None:
                self._port = free_port()
            child = self.child = Child(self.command())
            try:
                child.start()
                child.wait_until(self.answers, self.start_wait_s, given_up=self.told_to_stop)
            except GroundError:
                busy = any(sign in child.tail().lower() for sign in BUSY)
                child.stop()
                if busy and self._port_is_given:
                    raise GroundError(
                        f"Port {self._port} for {self.name} is taken by another program: "
                        "stop it or choose another port."
                    ) from None
                if not busy or attempt == BUSY_PORT_TRIES:
                    raise
                self._port = None
            except BaseException:
                child.stop()
                raise
            else:
                return

    def stop(self) -> None:
        """End a start that is under way and stop the server, within the stop times of command()."""
        self.told_to_stop.set()
        with self._changing:
            self.wanted = False
            if self.child is not None:
                self.child.stop()

    def forget(self) -> None:
        """Remove the data of a stopped server (one that a killed run left is ended first)."""
        end_leftover(self.run_file)
        shutil.rmtree(self.folder, ignore_errors=True)
