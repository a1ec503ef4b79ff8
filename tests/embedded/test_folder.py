"""Nothing is ever half made, and a data folder has one user at a time."""

import threading
from collections import namedtuple
from pathlib import Path

import pytest

from embedded import folder
from embedded.errors import GroundError
from embedded.folder import DataFolder, cache_folder, need_space, sweep, whole_folder


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "made"

    def fill(part: Path) -> None:
        (part / "file").write_text("all of it")
        assert not target.exists()

    whole_folder(target, fill)
    assert (target / "file").read_text() == "all of it"


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    def fill(part: Path) -> None:
        (part / "file").write_text("half of")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        whole_folder(tmp_path / "made", fill)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    stale = tmp_path / ".made.part-abc"
    stale.mkdir()
    (stale / "file").write_text("half of")
    beside = tmp_path / ".made.part-abc.password"
    beside.write_text("secret")
    whole_folder(tmp_path / "made", Path.exists)
    assert not stale.exists()
    assert not beside.exists()


def test_of_many_makers_one_makes(tmp_path: Path) -> None:
    made: list[Path] = []
    makers = [threading.Thread(target=whole_folder, args=(tmp_path / "made", made.append)) for _ in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(made) == 1


def test_a_data_folder_in_use_is_refused_with_a_sentence(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path / "data"), DataFolder(tmp_path / "data")
    first.take()
    with pytest.raises(GroundError, match="in use by another run: stop that one"):
        second.take()
    first.release()
    second.take()
    second.release()


def test_a_data_folder_that_is_a_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(GroundError, match="cannot be used"):
        DataFolder(tmp_path / "data").take()


def test_a_throwaway_folder_is_gone_after_release() -> None:
    data = DataFolder(None)
    place = data.take()
    assert place.is_dir()
    data.release()
    data.release()
    assert not place.exists()


def test_only_old_folders_that_nobody_holds_are_swept(tmp_path: Path) -> None:
    held, left = tmp_path / "sentinel-fluido-held", tmp_path / "sentinel-fluido-left"
    holder, killed = DataFolder(held), DataFolder(left)
    holder.take()
    now_s = (killed.take() / "lock").stat().st_mtime
    killed.release()
    sweep(tmp_path, now_s=now_s + 60)
    assert left.exists()
    sweep(tmp_path, now_s=now_s + 2 * folder.SWEEP_AGE_S)
    assert held.exists()
    assert not left.exists()
    holder.release()


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024  the shape of shutil.disk_usage()
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: usage(1 << 30, 1 << 30, 5 << 20))
    with pytest.raises(
        GroundError, match=r"has 5 MiB free and a new PostgreSQL needs 300 MiB: free some space"
    ):
        need_space(tmp_path, 300, "a new PostgreSQL")


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(GroundError, match="set XDG_CACHE_HOME to a folder that you may write"):
        cache_folder()
