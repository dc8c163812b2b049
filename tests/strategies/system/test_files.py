"""Files and folders are replaced as a whole or not at all, and have the permissions of any new file."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoopt.strategies.system import files
from autoopt.strategies.system.files import install_folder, remove_unfinished, whole_file, whole_folder, write_whole
from tests.places import ROOT

WRITER = "strategies/system/files.py"


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_text_and_bytes_are_written_into_folders_that_are_made_for_them(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "text", "größer")
    write_whole(tmp_path / "a" / "b" / "bytes", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "text").read_text(encoding="utf-8") == "größer"
    assert (tmp_path / "a" / "b" / "bytes").read_bytes() == b"\x00\xff"
    assert len(list((tmp_path / "a" / "b").iterdir())) == 2


@pytest.mark.usefixtures("umask")
def test_the_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "new")
    with whole_folder(tmp_path / "folder") as work:
        (work / "inside").touch()
    modes = [permissions(tmp_path / name) for name in ("file", "folder", "folder/inside")]
    assert modes == [0o640, 0o750, 0o640]


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("status", ["/proc/self/status", "/proc/none"])
def test_what_others_wrote_for_the_owner_alone_gets_these_permissions_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(files, "_STATUS", Path(status))
    with whole_folder(tmp_path / "folder") as work:
        (work / "weights").touch(0o600)
        (work / "inner").mkdir(0o700)
    with whole_file(tmp_path / "file") as work:
        work.touch(0o600)
    private = tmp_path / "private"
    private.mkdir(0o700)
    install_folder(private, tmp_path / "installed")
    names = ("folder/weights", "folder/inner", "file", "installed")
    assert [permissions(tmp_path / name) for name in names] == [0o640, 0o750, 0o640, 0o750]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "old")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "file") as work:  # noqa: PT012
        work.write_text("half")
        assert (tmp_path / "file").read_text() == "old"
        raise KeyboardInterrupt
    assert (tmp_path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "folder") as work:
        (work / "old").touch()
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "folder") as work:  # noqa: PT012
        (work / "half").touch()
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "old"]


def test_a_folder_is_replaced_with_all_that_was_in_it(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with whole_folder(tmp_path / "folder") as work:
            (work / name).mkdir()
            (work / name / "file").write_text(name)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "folder",
        "folder/second",
        "folder/second/file",
    ]


def test_a_finished_folder_is_moved_into_place(tmp_path: Path) -> None:
    for name in ("target", "work"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    install_folder(tmp_path / "work", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "work"
    assert list(tmp_path.iterdir()) == [tmp_path / "target"]


def test_content_is_on_the_disk_before_it_has_its_name_and_the_name_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    sync, move = files._sync, Path.replace

    def record_sync(path: Path) -> None:
        events.append(f"sync {'folder' if path.is_dir() else 'file'}")
        sync(path)

    def record_move(self: Path, target: Path) -> Path:
        events.append("move")
        return move(self, target)

    monkeypatch.setattr(files, "_sync", record_sync)
    monkeypatch.setattr(Path, "replace", record_move)
    write_whole(tmp_path / "file", "content")
    assert events == ["sync file", "move", "sync folder"]


def test_a_folder_is_on_the_disk_with_each_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(files, "_sync", lambda path: synced.append(path.name))
    with whole_folder(tmp_path / "folder") as work:
        (work / "a").touch()
        (work / "b").mkdir()
        (work / "b" / "c").touch()
    assert {"a", "b", "c", work.name, tmp_path.name} <= set(synced)
    assert synced[-1] == tmp_path.name


def writes_of_its_own(source: str) -> list[str]:
    """The calls that belong to an atomic write: ``fsync``, ``mkstemp`` and ``path.replace(target)``."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    attributes = [(node.func.attr, node) for node in calls if isinstance(node.func, ast.Attribute)]
    return [
        name
        for name, node in attributes
        if name in ("fsync", "mkstemp") or (name == "replace" and len(node.args) == 1 and not node.keywords)
    ]


def test_no_other_file_has_an_atomic_writer_of_its_own() -> None:
    paths = [path for layer in ("search", "objectives", "strategies") for path in (ROOT / layer).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): writes_of_its_own(path.read_text(encoding="utf-8")) for path in paths}
    found.pop("strategies/system/failpoints.py")  # It appends to the ledger of a test.
    assert {path for path, calls in found.items() if calls} == {WRITER}


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("a.json", ".hidden", ".a.json.lock", "deep/b.json")]
    left = [tmp_path / ".a.json.0123abcd", tmp_path / "deep" / ".b.json.89abcdef"]
    for path in (*kept, *left):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / ".model.0a0a0a0a" / "inner").mkdir(parents=True)
    remove_unfinished(tmp_path, "a.json")
    assert not left[0].exists()
    assert left[1].exists()
    remove_unfinished(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert not (tmp_path / ".model.0a0a0a0a").exists()


def test_what_a_thread_writes_as_its_process_ends_is_removed(tmp_path: Path) -> None:
    code = (
        "import sys, threading, time\nfrom pathlib import Path\n"
        "from autoopt.strategies.system.files import whole_file\n"
        "begun = threading.Event()\n"
        "def write():\n"
        "    with whole_file(Path(sys.argv[1])) as work:\n"
        "        work.write_text('half')\n"
        "        begun.set()\n"
        "        time.sleep(600)\n"
        "threading.Thread(target=write, daemon=True).start()\n"
        "begun.wait()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=True)
    assert list(tmp_path.iterdir()) == []
