"""As root PostgreSQL runs under an account without rights, which must reach its program and its data."""

import os
import shutil
from pathlib import Path

import pytest

from embedded import account
from embedded.account import Account, reachable_data, reachable_program, service_account, settle
from embedded.errors import GroundError

STRANGER = Account("stranger", 54_321, 54_321)


def test_a_closed_folder_above_is_seen(open_folder: Path) -> None:
    inner = open_folder / "closed" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        folder.chmod(0o755)
    assert STRANGER.reaches(inner)
    inner.parent.chmod(0o700)
    assert not STRANGER.reaches(inner)
    assert Account("owner", os.getuid(), os.getgid()).reaches(inner)


def test_our_own_account_needs_nothing_moved(tmp_path: Path) -> None:
    assert reachable_program(None, tmp_path, (), "program-1") == tmp_path
    assert reachable_data(None, tmp_path / "data") == tmp_path / "data"


def test_what_cannot_be_reached_is_copied_once(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "OPEN_GROUND", open_folder / "open")
    closed = open_folder / "closed"
    for part in ("bin", "libraries", "other"):
        (closed / part).mkdir(parents=True)
        (closed / part / "file").write_text(part)
    closed.chmod(0o700)
    for _ in range(2):
        copy = reachable_program(STRANGER, closed, ("bin", "libraries"), "program-1.2")
    assert copy == open_folder / "open" / "program-1.2"
    assert (copy / "libraries" / "file").read_text() == "libraries"
    assert not (copy / "other").exists()

    data = reachable_data(STRANGER, closed / "postgres")
    assert data.is_relative_to(open_folder / "open")
    assert data != reachable_data(STRANGER, closed / "other" / "postgres")


def test_root_is_given_an_account_without_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.os, "geteuid", lambda: 0)
    found = service_account()
    assert found is not None
    assert found.uid != 0
    monkeypatch.setattr(account, "CANDIDATES", ("no such account",))
    with pytest.raises(GroundError, match="add one, or start as an ordinary user"):
        service_account()


def test_others_run_servers_as_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.os, "geteuid", lambda: 1000)
    assert service_account() is None


def test_data_outside_goes_with_the_folder_that_it_belongs_to(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "OPEN_GROUND", open_folder)
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for number, owner in enumerate((mine, theirs)):
        owner.mkdir()
        settle(open_folder / f"data-{number}", owner)
        (open_folder / f"data-{number}" / "postgres").mkdir()
    assert str(open_folder / "data-0") in (mine / "data-is-elsewhere.txt").read_text()

    settle(open_folder / "data-0", mine)
    assert (open_folder / "data-0" / "postgres").exists()
    for owner in (mine, theirs):
        shutil.rmtree(owner)
    mine.mkdir()
    settle(open_folder / "data-0", mine)
    assert not (open_folder / "data-0" / "postgres").exists()
    assert not (open_folder / "data-1").exists()
