"""Artifacts that are copied to a storage and back are reused; what is damaged is not."""

import shutil

import fsspec
import pytest

from stages.guards.errors import UserError
from stages.report.exports.mirror import main, pull, push
from stages.runtime.manifest import MANIFEST
from tests.running import Seeded, run_steps, text_pipeline


@pytest.fixture
def first(tmp_path):
    """The folder of a run on the first machine, and the steps of its pipeline."""
    steps = text_pipeline(tmp_path, prompts=4)
    (tmp_path / "one").mkdir()
    run_steps(steps, tmp_path / "one")
    return tmp_path / "one" / "artifacts", steps


@pytest.fixture(scope="module")
def s3_server():
    """A server that speaks S3, where moto and s3fs are installed."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["file", "memory", "s3"])
def storage(request, tmp_path, monkeypatch):
    if request.param == "file":
        return f"file://{tmp_path / 'storage'}"
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return "memory://bucket/credo"
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3_server"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-this-test")
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    bucket = f"bucket-{tmp_path.parent.name}-{tmp_path.name}".replace("_", "-").lower()[:60]
    system.mkdir(bucket)
    system.clear_instance_cache()
    return f"s3://{bucket}/credo"


def files_in(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and ".locks" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_another_machine_reuses_what_was_pushed(first, storage, tmp_path):
    root, steps = first
    (root / "answers-0123abcd").mkdir()  # never finished
    copied, damaged = push(root, storage)
    assert len(copied) >= 3 and not damaged
    assert push(root, storage) == ([], [])
    other = tmp_path / "two" / "artifacts"
    assert pull(other, storage) == (copied, [])
    assert pull(other, storage) == ([], [])
    assert files_in(other) == {
        name: content for name, content in files_in(root).items() if "0123abcd" not in name
    }
    generator = Seeded()
    planned, _ = run_steps(steps, tmp_path / "two", generator)
    assert generator.calls == 0 and all(plan.artifact for plan in planned)


def test_what_is_damaged_there_or_cut_short_is_not_taken(first, storage, tmp_path):
    root, _ = first
    copied, _ = push(root, storage)
    system, base = fsspec.core.url_to_fs(storage)
    half, changed = next(name for name in copied if name.startswith("base-")), copied[0]
    system.rm_file(f"{base}/{half}/{MANIFEST}")  # a push that was killed
    rows = next(name for name in system.find(f"{base}/{changed}") if name.endswith(".parquet"))
    content = system.cat_file(rows)
    system.pipe_file(rows, content[:-9] + bytes(9))
    other = tmp_path / "two"
    pulled, damaged = pull(other, storage)
    assert pulled == [name for name in copied if name not in (half, changed)]
    assert [line.partition(":")[0] for line in damaged] == [changed]
    assert not (other / changed).exists() and not (other / half).exists()
    assert main(["pull", str(other), storage]) == 2
    assert push(root, storage) == ([half], [])


def test_what_is_damaged_here_is_not_pushed_and_is_replaced_by_a_pull(first, storage):
    root, _ = first
    copied, _ = push(root, storage)
    sound = files_in(root)
    rows = next((root / copied[0]).glob("*.parquet"))
    rows.write_bytes(rows.read_bytes()[:-9] + bytes(9))
    (root / copied[1] / MANIFEST).unlink()
    assert len(push(root, storage + "/other")[1]) == 1
    assert pull(root, storage) == (sorted(copied[:2]), [])
    assert files_in(root) == sound


def test_a_manifest_that_names_files_elsewhere_is_refused(first, storage, tmp_path, monkeypatch):
    root, _ = first
    copied, _ = push(root, storage)
    real = shutil.copytree(root / copied[0], tmp_path / "copy")
    from stages.report.exports import mirror

    manifest = mirror.read_manifest(real)
    facts = next(iter(manifest.files.values()))
    escaping = manifest.model_copy(update={"files": {"../../escaped": facts}})
    monkeypatch.setattr(mirror, "read_manifest", lambda folder: escaping)
    _, damaged = pull(tmp_path / "two", storage)
    assert damaged and not list(tmp_path.rglob("escaped"))


def test_addresses_that_cannot_be_used(tmp_path):
    (tmp_path / "artifacts").mkdir()
    with pytest.raises(UserError, match="holds a key or a password"):
        push(tmp_path / "artifacts", "s3://key:secret@bucket/x")
    with pytest.raises(UserError, match="the storage cannot be used"):
        push(tmp_path / "artifacts", "nosuch://bucket")
    assert main(["push", str(tmp_path / "artifacts"), "nosuch://bucket"]) == 2


@pytest.mark.parametrize("storage", ["s3"], indirect=True)
def test_a_bucket_that_is_not_there_is_refused_and_not_created(first, storage):
    root, _ = first
    for copy in (push, pull):
        with pytest.raises(UserError, match="there is no bucket 'another-bucket'"):
            copy(root, "s3://another-bucket/credo")
    assert len(push(root, storage)[0]) >= 3


def test_a_folder_or_a_storage_without_artifacts_is_a_mistake(first, storage, tmp_path, capsys):
    empty = f"file://{tmp_path / 'empty'}"
    for words in (["push", str(tmp_path / "no"), storage], ["pull", str(tmp_path / "new"), empty]):
        assert main(words) == 2
        assert "no artifact lies here" in capsys.readouterr().err
