"""Hostile model folders: a tiny sound model, damaged, then opened as Credo opens models."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

from stages.guards.errors import UserError
from tests.fuzz.kind import Kind, Wrong

MARK = "CODE_RAN"
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class RunsCode:
    """What leaves a mark if it is unpickled."""

    mark: str

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def edit(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | values))


def config(name: str, *values: Any) -> Callable[[Path, Random], None]:
    return lambda folder, rng: edit(folder / "config.json", **{name: rng.choice(values)})


def tokenizer_config(name: str, *values: Any) -> Callable[[Path, Random], None]:
    return lambda folder, rng: edit(folder / "tokenizer_config.json", **{name: rng.choice(values)})


def write(name: str, *contents: bytes) -> Callable[[Path, Random], None]:
    return lambda folder, rng: void((folder / name).write_bytes(rng.choice(contents)))


def void(_: Any) -> None:
    pass


def read_header(folder: Path) -> tuple[dict[str, Any], bytes]:
    content = (folder / WEIGHTS).read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def write_weights(folder: Path, header: Any, data: bytes) -> None:
    text = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data)


def pickled(name: str) -> Callable[[Path, Random], None]:
    """Weights that run code, under a name."""

    def damage(folder: Path, rng: Random) -> None:
        (folder / name).write_bytes(pickle.dumps(RunsCode(str(folder / MARK))))

    return damage


def index(*names: str, remove: bool = True) -> Callable[[Path, Random], None]:
    """An index that names files; `*` stands for an outer pickle's path."""

    def damage(folder: Path, rng: Random) -> None:
        header, _ = read_header(folder)
        header.pop("__metadata__", None)
        name = rng.choice(names)
        for place in (folder / "pytorch_model.bin", folder.parent / "outer.bin"):
            place.write_bytes(pickle.dumps(RunsCode(str(folder / MARK))))
        if name == "*":
            name = str(folder.parent / "outer.bin")
        if remove:
            (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")
        weight_map = dict.fromkeys(header, "model-00001-of-00002.safetensors")
        weight_map[rng.choice(sorted(weight_map))] = name
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

    return damage


def no_index(folder: Path, rng: Random) -> None:
    (folder / WEIGHTS).rename(folder / "model-1.safetensors")
    contents = [b"{}", b"[]", b"", b'{"weight_map": []}', b'{"weight_map": {"a": 7}}', b"\xff"]
    (folder / INDEX).write_bytes(rng.choice(contents))


def only_pickles(folder: Path, rng: Random) -> None:
    (folder / WEIGHTS).unlink()
    pickled("pytorch_model.bin")(folder, rng)


def sharded(folder: Path, rng: Random) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="100KB")


def without_a_shard(folder: Path, rng: Random) -> None:
    sharded(folder, rng)
    rng.choice(sorted(folder.glob("*.safetensors"))).unlink()


def without_some_weights(folder: Path, rng: Random) -> None:
    _change_tensors(folder, lambda tensors: tensors.pop(rng.choice(sorted(tensors))))


def with_nan(folder: Path, rng: Random) -> None:
    def change(tensors: Any) -> None:
        tensor = tensors[rng.choice(sorted(tensors))]
        tensor.view(-1)[rng.randrange(tensor.numel())] = float("nan")

    _change_tensors(folder, change)


def as_bfloat16(folder: Path, rng: Random) -> None:
    import torch

    def change(tensors: Any) -> None:
        for name in tensors:
            tensors[name] = tensors[name].to(torch.bfloat16)

    _change_tensors(folder, change)


def other_names(folder: Path, rng: Random) -> None:
    def change(tensors: Any) -> None:
        for name in list(tensors):
            tensors[f"other.{name}"] = tensors.pop(name)

    _change_tensors(folder, change)


def other_shape(folder: Path, rng: Random) -> None:
    def change(tensors: Any) -> None:
        name = rng.choice(sorted(name for name in tensors if tensors[name].dim() == 2))
        tensors[name] = tensors[name][:, :-1].contiguous()

    _change_tensors(folder, change)


def _change_tensors(folder: Path, change: Callable[[Any], Any]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def header(change: Callable[[dict[str, Any], Random], Any]) -> Callable[[Path, Random], None]:
    """Another header over the same numbers."""

    def damage(folder: Path, rng: Random) -> None:
        content, data = read_header(folder)
        changed = change(content, rng)
        write_weights(folder, content if changed is None else changed, data)

    return damage


def overlapping(content: dict[str, Any], rng: Random) -> None:
    names = [name for name in content if name != "__metadata__"]
    one, other = rng.sample(names, 2)
    content[one]["data_offsets"] = content[other]["data_offsets"]


def wild_offsets(content: dict[str, Any], rng: Random) -> None:
    name = rng.choice([name for name in content if name != "__metadata__"])
    content[name]["data_offsets"] = rng.choice([[0, 2**62], [-4, 4], [8, 0], ["a", "b"], []])


def wild_shape(content: dict[str, Any], rng: Random) -> None:
    name = rng.choice([name for name in content if name != "__metadata__"])
    content[name]["shape"] = rng.choice([[2**40, 2**40], [-1], ["x"], [], [1.5], [2**70]])


def wild_dtype(content: dict[str, Any], rng: Random) -> None:
    name = rng.choice([name for name in content if name != "__metadata__"])
    content[name]["dtype"] = rng.choice(["F31", "", None, 4, "BOOL", "F64"])


def truncated(folder: Path, rng: Random) -> None:
    file = folder / rng.choice([WEIGHTS, "tokenizer.json", "config.json"])
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content))])


def flipped(folder: Path, rng: Random) -> None:
    file = folder / rng.choice([WEIGHTS, "tokenizer.json", "config.json", "tokenizer_config.json"])
    content = bytearray(file.read_bytes())
    for _ in range(rng.randint(1, 20)):
        content[rng.randrange(min(len(content), 4000))] = rng.randrange(256)
    file.write_bytes(bytes(content))


def huge_header(folder: Path, rng: Random) -> None:
    length = rng.choice([2**63, 2**40, 10**8, 0, 7])
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", length) + b"{" * 100)


def odd(kind: str) -> Callable[[Path, Random], None]:
    """A file that is none."""

    def damage(folder: Path, rng: Random) -> None:
        names = [WEIGHTS, "config.json", "tokenizer.json", "generation_config.json"]
        file = folder / rng.choice(names)
        file.unlink()
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        elif kind == "unreadable":
            file.symlink_to("/proc/self/mem")
        else:
            file.symlink_to({"device": "/dev/zero", "dangling": "nowhere", "loop": file.name}[kind])

    return damage


def as_in_the_cache(folder: Path, rng: Random) -> None:
    """Links to ../../blobs, as the Hub's cache has them."""
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.move(file, blobs / str(number))
        file.symlink_to(Path("..") / "blobs" / str(number))


def larger_vocabulary(folder: Path, rng: Random) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    if rng.random() < 0.5:
        content["model"]["vocab"]["zebra"] = rng.choice([100_000, 512, 513])
    else:
        content["added_tokens"][0]["id"] = 10**6
    file.write_text(json.dumps(content))


def deep(name: str) -> Callable[[Path, Random], None]:
    return lambda folder, rng: void((folder / name).write_text("[" * 200_000 + "]" * 200_000))


def template(*texts: str) -> Callable[[Path, Random], None]:
    return lambda folder, rng: void((folder / "chat_template.jinja").write_text(rng.choice(texts)))


def own_code(folder: Path, rng: Random) -> None:
    for name in ("modeling_own", "configuration_own", "tokenization_own"):
        (folder / f"{name}.py").write_text(f"import os; os.system('touch {folder / MARK}')")
    edit(
        folder / "config.json",
        model_type=rng.choice(["own", "llama"]),
        auto_map={
            "AutoConfig": "configuration_own.Config",
            "AutoModelForCausalLM": "modeling_own.Model",
        },
    )
    if rng.random() < 0.5:
        edit(
            folder / "tokenizer_config.json",
            tokenizer_class="OwnTokenizer",
            auto_map={"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]},
        )


def adapter(folder: Path, rng: Random) -> None:
    base = rng.choice(["/nowhere", "owner/name", str(folder)])
    edit(folder / "adapter_config.json", base_model_name_or_path=base, peft_type="LORA")
    pickled("adapter_model.bin")(folder, rng)


NUMBERS = (0, -1, 10**9, 10**30, 1.5, "many", None, True, [64], {})
KINDS: dict[str, tuple[Callable[[Path, Random], None], bool | None]] = {
    "nothing": (lambda folder, rng: None, False),
    "sharded": (sharded, False),
    "links as in the Hub's cache": (as_in_the_cache, False),
    "bfloat16": (as_bfloat16, False),
    "pickle beside safetensors": (pickled("pytorch_model.bin"), False),
    "index beside whole weights": (index("pytorch_model.bin", remove=False), None),
    "index names a pickle": (index("pytorch_model.bin", "model.pt"), True),
    "index names a path": (index("*", "../outer.bin", "/etc/passwd", "a/b.safetensors"), True),
    "index names an odd file": (index("", "..", "x\0.safetensors", "gone.safetensors"), True),
    "index is no index": (no_index, True),
    "a shard is missing": (without_a_shard, True),
    "only a pickle": (only_pickles, True),
    "a pickle named safetensors": (pickled(WEIGHTS), True),
    "a weight is missing": (without_some_weights, True),
    "other names": (other_names, True),
    "another shape": (other_shape, True),
    "NaN": (with_nan, True),
    "overlapping offsets": (header(overlapping), True),
    "wild offsets": (header(wild_offsets), True),
    "wild shape": (header(wild_shape), True),
    "wild dtype": (header(wild_dtype), True),
    "header is a list": (header(lambda content, rng: [content]), True),
    "huge header": (huge_header, True),
    "no bytes": (
        lambda folder, rng: write(rng.choice([WEIGHTS, "config.json"]), b"")(folder, rng),
        True,
    ),
    "truncated": (truncated, True),
    "flipped bytes": (flipped, None),
    "a pipe": (odd("pipe"), True),
    "a folder": (odd("folder"), True),
    "a device": (odd("device"), True),
    "a dangling link": (odd("dangling"), True),
    "a loop of links": (odd("loop"), True),
    "a file of /proc": (odd("unreadable"), True),
    "hidden_size": (config("hidden_size", *NUMBERS[:-3], 32, 96, 512), None),
    "vocab_size": (config("vocab_size", *NUMBERS[:6], 100, 513), True),
    "fewer layers": (config("num_hidden_layers", 1), True),
    "num_hidden_layers": (config("num_hidden_layers", *NUMBERS[:6], 3, 20), True),
    "num_attention_heads": (config("num_attention_heads", *NUMBERS, 3), None),
    "intermediate_size": (config("intermediate_size", *NUMBERS[:6], 100), True),
    "max_position_embeddings": (config("max_position_embeddings", *NUMBERS[:6]), None),
    "dtype": (config("dtype", "nonsense", "float4", 7, ["float32"]), True),
    "architectures": (config("architectures", ["Nothing"], "LlamaForCausalLM", [7], {}), None),
    "model_type": (config("model_type", "nothing", 7, "bert", "gpt2", "", "../x"), True),
    "activation": (config("hidden_act", "nothing", 7, "os.system"), True),
    "rope": (config("rope_parameters", {"rope_type": "x"}, 7, {"rope_theta": "y"}), None),
    "quantised": (
        config("quantization_config", {"quant_method": "gptq", "bits": 4}, {}, 7, {"x": 1}),
        None,
    ),
    "weights of its own": (config("transformers_weights", "../x.safetensors", "y.bin", 7), True),
    "own code": (own_code, None),
    "tied otherwise": (config("tie_word_embeddings", False), True),
    "config is no object": (write("config.json", b"[]", b"7", b"null", b"{", b"\xff\xfe"), True),
    "config is deep": (deep("config.json"), True),
    "tokenizer is deep": (deep("tokenizer.json"), True),
    "tokenizer is empty": (write("tokenizer.json", b"{}", b"[]", b"null", b'{"model": 7}'), True),
    "no tokenizer": (lambda folder, rng: (folder / "tokenizer.json").unlink(), True),
    "tokenizer with a larger vocabulary": (larger_vocabulary, True),
    "tokenizer's class": (tokenizer_config("tokenizer_class", "Nothing", "os", 7), None),
    "no pad and no end": (
        lambda folder, rng: edit(folder / "tokenizer_config.json", pad_token=None, eos_token=None),
        True,
    ),
    "odd special tokens": (tokenizer_config("eos_token", 7, [], "unseen", {}), None),
    "odd lengths": (tokenizer_config("model_max_length", -1, "x", 10**40), None),
    "generation config": (
        write(
            "generation_config.json",
            b"",
            b"[]",
            b'{"eos_token_id": "x"}',
            b'{"temperature": -1}',
            b'{"eos_token_id": 1000000}',
        ),
        None,
    ),
    "an adapter": (adapter, True),
    "no template": (lambda folder, rng: (folder / "chat_template.jinja").unlink(), True),
    "a template that fails": (
        template("{{", "{% for m in messages %}", "{{ 1/0 }}", "{{ messages.x.y }}"),
        True,
    ),
    "a template that attacks": (
        template(
            "{{ ''.__class__.__mro__ }}",
            "{{ cycler.__init__.__globals__.os.system('touch x') }}",
            "{% for i in range(10**9) %}{% endfor %}",
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "{{ 'x' * 10**10 }}",
        ),
        None,
    ),
}
"""By name: what damages a folder, and whether it must be refused; None: either is right."""


def damage_model(folder: Path, rng: Random, name: str | None = None) -> str:
    """Damage a copy of a tiny model in one way, drawn unless it is named; return its name."""
    name = name or rng.choice(sorted(KINDS))
    KINDS[name][0](folder, rng)
    return name


@cache
def sound_model() -> Path:
    from tests.tiny_model import build_tiny_model

    return build_tiny_model(Path(mkdtemp(prefix="credo-fuzz-")) / "model")


def open_as_credo_does(folder: Path) -> None:
    """Find the model, load it for answers and for training, and let it read a conversation.

    Raises:
        UserError: it is refused.
    """
    import torch

    from stages.generators.chat import TemplateRefusal, encode_chat
    from stages.generators.transformers_loading import Options, load_model
    from stages.runtime.models import find_model
    from stages.training.model_files import load_tokenizer

    model = find_model(str(folder))
    network, _ = load_model(model, Options())
    tokenizer = load_tokenizer(model, {})
    try:
        tokens = encode_chat(tokenizer, [{"role": "user", "content": "how do I help"}], {})
    except TemplateRefusal as refusal:
        raise UserError(refusal.reason) from None
    with torch.inference_mode():
        network(torch.tensor([tokens[:64] or [0]]))


def attempt(rng: Random, folder: Path) -> str:
    """Damage a copy of the sound model, and open it."""
    copy = folder / "model"
    shutil.copytree(sound_model(), copy)
    name = damage_model(copy, rng)
    must_fail = KINDS[name][1]
    try:
        open_as_credo_does(copy)
    except UserError as error:
        if must_fail is False:
            raise Wrong(f"{name}: refused a sound model: {error}") from error
        raise
    finally:
        if (copy / MARK).exists() or (folder / MARK).exists():
            raise Wrong(f"{name}: code ran")
    if must_fail:
        raise Wrong(f"{name}: accepted")
    return "loaded"


def prepare() -> None:
    """Import what takes long, and build the sound model."""
    open_as_credo_does(sound_model())


KIND = Kind(count=200, attempt=attempt, prepare=prepare)
