"""The one opener of files from outside: what is no file of a limited size is refused, at once."""

import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.guards.files import as_path, exists, open_file, parse_json, read_bytes, read_text


def make_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def make_socket(folder: Path) -> Path:
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def make_link(folder: Path, target: str) -> Path:
    (folder / "link").symlink_to(target)
    return folder / "link"


def make_sparse(folder: Path) -> Path:
    path = folder / "sparse"
    with path.open("wb") as stream:
        stream.truncate(2**40)
    return path


ODD = {
    "a folder": lambda folder: folder,
    "a pipe": make_pipe,
    "a socket": make_socket,
    "a device": lambda folder: Path("/dev/zero"),
    "this link leads nowhere": lambda folder: make_link(folder, "nowhere"),
    "Too many levels": lambda folder: make_link(folder, "link"),
    "a pipe, not a file": lambda folder: make_link(folder, str(make_pipe(folder))),
    "too large": make_sparse,
    "a view of the running system": lambda folder: Path("/proc/self/mem"),
    "view of the running system": lambda folder: make_link(folder, "/proc/self/environ"),
    "there is no such file": lambda folder: folder / "no such",
    "Not a directory": lambda folder: Path(__file__) / "x",
    "name too long": lambda folder: folder / ("x" * 5000),
    "an empty name": lambda folder: "  ",
    "a NUL character": lambda folder: "a\0b",
    "half of a character": lambda folder: "a\ud800b",
}


@pytest.mark.parametrize("message", ODD)
def test_what_is_no_file_is_refused_and_named(tmp_path, message):
    with pytest.raises(UserError, match=message) as caught:
        read_bytes(ODD[message](tmp_path))
    assert len(str(caught.value)) < 1000


def test_odd_names_of_real_files_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a b", "~", "caf\udce9", "line\nbreak", "=x", "😀", "-rf"):
        (tmp_path / name).write_bytes(b"x")
        assert read_bytes(tmp_path / name) == b"x"
        assert exists(tmp_path / name)
    (tmp_path / "mine").write_bytes(b"y")
    assert read_bytes("~/mine") == b"y"
    assert as_path("~nobody-at-all/x") == Path("~nobody-at-all/x")
    assert not exists("a\0b")


def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        read_bytes(tmp_path / "a")


@pytest.mark.parametrize("more", [b"y" * 10, None])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, more):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    with open_file(path) as (stream, size):
        assert size == 100
        path.write_bytes(b"x" * 100 + more if more else b"")
        assert len(stream.read(size + 1)) != size

    real = os.fstat

    def grow(handle):
        facts = real(handle)
        path.write_bytes(b"")
        return facts

    path.write_bytes(b"x" * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fstat", grow)
        with pytest.raises(UserError, match="changed while it was read"):
            read_bytes(path)


def test_a_pipe_that_takes_the_place_of_a_file_blocks_nothing(tmp_path, monkeypatch):
    pipe = make_pipe(tmp_path)
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: real(__file__))
    caught = []

    def read():
        try:
            read_bytes(pipe)
        except UserError as error:
            caught.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(60)
    assert caught and "a pipe" in caught[0]


def test_text_and_its_faults(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\ntwo")
    assert read_text(tmp_path / "a") == "one\ntwo"
    (tmp_path / "b").write_bytes(b"one\ntw\xff")
    with pytest.raises(UserError, match=r"b:2: the file is not UTF-8"):
        read_text(tmp_path / "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[1,]", "not valid JSON"),
        ("{} {}", "Extra data"),
        ("// x\n{}", "not valid JSON"),
        ("[" * 100_000, "nested too deep"),
        ("9" * 5000, "digits"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"b": {"' + "x" * 9000 + '": 1, "' + "x" * 9000 + '": 2}}', "stands twice"),
    ],
)
def test_what_is_no_json_is_named(text, message):
    with pytest.raises(UserError, match=message) as caught:
        parse_json(text, "a.json")
    assert caught.value.where.startswith("a.json") and len(str(caught.value)) < 1000


@settings(max_examples=100)
@given(st.text(st.characters(), max_size=30))
def test_any_name_is_read_or_refused(name):
    try:
        assert read_bytes(name) is not None
    except UserError as error:
        assert error.what and error.fix
