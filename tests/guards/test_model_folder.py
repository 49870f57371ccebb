"""What a plan sees of a damaged model folder; `tests/fuzz/models.py` has the kinds."""

import json
import os
import shutil
import time
from random import Random

import pytest

from stages.guards.errors import SeveralErrors, UserError
from stages.runtime.models import find_model, refuse_changed
from tests.fuzz.models import KINDS, MARK, damage_model
from tests.tiny_model import build_tiny_model

SEEN_WHEN_PLANNING = [
    "index names a pickle",
    "index names a path",
    "index names an odd file",
    "index is no index",
    "only a pickle",
    "a pickle named safetensors",
    "overlapping offsets",
    "wild offsets",
    "wild shape",
    "wild dtype",
    "header is a list",
    "huge header",
    "no bytes",
    "a pipe",
    "a folder",
    "a device",
    "a dangling link",
    "a loop of links",
    "a file of /proc",
    "vocab_size",
    "dtype",
    "weights of its own",
    "config is no object",
    "config is deep",
    "tokenizer is deep",
    "tokenizer with a larger vocabulary",
    "an adapter",
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("sound") / "model")


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "model")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", SEEN_WHEN_PLANNING)
def test_a_plan_refuses_a_damaged_folder_at_once_and_runs_no_code(copy, kind, seed):
    assert KINDS[kind][1]
    damage_model(copy, Random(f"{kind} {seed}"), kind)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"(?s).+Fix: "):
        find_model(str(copy))
    assert time.monotonic() - began < 5
    assert not (copy / MARK).exists()


@pytest.mark.parametrize("kind", ["nothing", "links as in the Hub's cache"])
def test_a_sound_folder_is_the_same_model_wherever_its_files_are(sound, copy, kind):
    damage_model(copy, Random(0), kind)
    assert find_model(str(copy)).content == find_model(str(sound)).content


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "spm.model", "added_tokens.json"])
def test_every_file_that_decides_is_a_part_of_the_content(sound, copy, name):
    whole = json.dumps({"weight_map": {"x": "model.safetensors"}})
    (copy / name).write_text(whole if "index" in name else "{}")
    assert find_model(str(copy)).content != find_model(str(sound)).content


def test_all_faults_of_a_folder_are_shown_at_once(copy):
    (copy / "model.safetensors").write_bytes(b"")
    (copy / "config.json").write_text("[]")
    (copy / "generation_config.json").write_text("{")
    with pytest.raises(SeveralErrors, match="3 faults"):
        find_model(str(copy))


def test_weights_that_are_swapped_after_hashing_are_noticed(copy):
    model = find_model(str(copy))
    refuse_changed(model)
    file = copy / "model.safetensors"
    times = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(UserError, match="changed"):
        refuse_changed(model)


@pytest.mark.parametrize(
    "path, revision",
    [
        ("", None),
        (" ", None),
        ("a\0b", None),
        ("~nobody-here/x", None),
        ("/etc/passwd", None),
        ("/proc", None),
        ("/dev/null", None),
        ("\ud800/x", None),
        ("a" * 5000, None),
        ("owner/na me", None),
        ("../x", None),
        ("https://huggingface.co/owner/name", None),
        ("owner/name", "../../x"),
        ("owner/name", ""),
        ("owner/name", "a b"),
        ("owner/name", "x" * 300),
    ],
)
def test_what_is_no_model_is_refused(path, revision):
    with pytest.raises(UserError, match="Fix: "):
        find_model(path, revision)


def edit(file, **values):
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | values))


@pytest.mark.parametrize(
    "name, values",
    [
        ("tokenizer_config.json", {"model_max_length": None}),
        ("tokenizer_config.json", {"additional_special_tokens": ["<image>", "<tool>"]}),
        ("tokenizer_config.json", {"extra_special_tokens": {"image_token": "<image>"}}),
        ("special_tokens_map.json", {"additional_special_tokens": ["<image>"]}),
        ("config.json", {"intermediate_size": [128, 64]}),
        ("generation_config.json", {"eos_token_id": [2, 1], "pad_token_id": None}),
        ("pytorch_model.bin.index.json", {"weight_map": {"a": "pytorch_model.bin"}}),
    ],
)
def test_what_sound_models_have_is_not_refused(copy, name, values):
    edit(copy / name, **values)
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    beyond = {**tokenizer["added_tokens"][0], "content": "<image>", "id": 10**5}
    edit(copy / "tokenizer.json", added_tokens=[*tokenizer["added_tokens"], beyond])
    find_model(str(copy))


@pytest.mark.parametrize("name", ["pad_token", "eos_token", "bos_token", "cls_token"])
def test_a_token_that_is_used_must_be_one_of_the_model(copy, name):
    edit(copy / "tokenizer_config.json", **{name: "<image>"})
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    beyond = {**tokenizer["added_tokens"][0], "content": "<image>", "id": 10**5}
    edit(copy / "tokenizer.json", added_tokens=[*tokenizer["added_tokens"], beyond])
    with pytest.raises(UserError, match="the tokenizer writes tokens up to number 100,000"):
        find_model(str(copy))


@pytest.mark.parametrize("sizes", [[128, 0], [], [10**9], [True]])
def test_a_size_of_each_layer_is_a_size(copy, sizes):
    edit(copy / "config.json", intermediate_size=sizes)
    with pytest.raises(UserError, match="'intermediate_size' is"):
        find_model(str(copy))
