"""Weights in safetensors, read without torch: which files hold them, and whether they are sound."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError
from stages.guards.files import exists, open_file, read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
LARGEST = 2**50
"""Bytes of the largest file of weights."""
SAMPLE = 512
"""Numbers of each tensor that are looked at."""
_NAN_BITS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000)}
"""How a number is stored, and the bits of its exponent: all of them set, it is infinite or NaN."""


@dataclass(frozen=True)
class Tensor:
    """What a file's header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        product = 1
        for size in self.shape:
            product *= size
        return product


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a model's weights, by the same rule as transformers and vLLM.

    Raises:
        UserError: there are none, or an index names what is no file of weights in this folder.
    """
    whole, index = folder / WEIGHTS, folder / INDEX
    others = sorted(folder.glob("*.safetensors"))
    if exists(whole):
        _refuse_others([file for file in others if file != whole], folder)
        return [whole]
    if not exists(index):
        raise _without_weights(folder, others)
    names = index_names(index)
    missing = [name for name in sorted(names) if not exists(folder / name)]
    if missing:
        raise UserError(
            f"the index names {', '.join(missing)[:200]}, and there is no such file",
            where=str(index),
            fix="copy all files of the model",
        )
    _refuse_others([file for file in others if file.name not in names], folder)
    return [folder / name for name in sorted(names)]


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file.

    Raises:
        UserError: it is not a regular file, not sound safetensors, or holds numbers that are NaN.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with open_file(file, most=LARGEST) as (stream, _), safe_open(file, "numpy"):
            start = 8 + int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(start - 8))
            header.pop("__metadata__", None)
            for name, facts in header.items():
                stream.seek(start + facts["data_offsets"][0])
                if _holds_nan(facts["dtype"], stream.read(4 * SAMPLE)[: _size(facts)]):
                    raise UserError(
                        f"the weights {name!r} hold NaN, so every answer would be nonsense",
                        where=str(file),
                        fix="take a checkpoint from before the training diverged",
                    )
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"the weights are damaged: {str(error).splitlines()[0]}",
            where=str(file),
            fix="copy it there again; if a step made it, "
            f"delete {file.parent.parent} and run again",
        ) from None
    return {name: Tensor(facts["dtype"], tuple(facts["shape"])) for name, facts in header.items()}


@contextmanager
def open_tensors(file: Path) -> Iterator[Callable[[str], bytes]]:
    """Open a sound file of weights; yield a function from a tensor's name to its bytes."""
    with open_file(file, most=LARGEST) as (stream, _):
        start = 8 + int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(start - 8))

        def read(name: str) -> bytes:
            stream.seek(start + header[name]["data_offsets"][0])
            return stream.read(_size(header[name]))

        yield read


def _size(facts: Mapping[str, Any]) -> int:
    start, end = facts["data_offsets"]
    return int(end - start)


def _holds_nan(dtype: str, content: bytes) -> bool:
    import numpy

    if dtype not in _NAN_BITS:
        return False
    kind, exponent = _NAN_BITS[dtype]
    numbers = numpy.frombuffer(content[: len(content) // 4 * 4], kind)
    fractions = numbers & (exponent & -exponent) - 1
    return bool(((numbers & exponent == exponent) & (fractions != 0)).any())


def index_names(index: Path) -> set[str]:
    """Return the files of weights that an index names.

    Raises:
        UserError: it names none, or anything else than a *.safetensors beside it.
    """
    content = read_json(index, most=2**30)
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not names:
        raise UserError(
            "the index names no file of weights",
            where=str(index),
            fix="copy it again: it holds `weight_map`, from each tensor to its file",
        )
    texts = {str(name) for name in names.values()}
    wrong = [
        name
        for name in sorted(texts)
        if os.path.basename(name) != name or not name.endswith(".safetensors") or "\0" in name
    ]
    if wrong:
        raise UserError(
            f"the index names {str(wrong[:5])[1:-1][:200]}: not *.safetensors beside it",
            where=str(index),
            fix="convert the weights: load the model where you trust it and call "
            "save_pretrained(path), which writes safetensors",
        )
    return texts


def _refuse_others(others: list[Path], folder: Path) -> None:
    """Refuse files of weights that transformers would not read, and vLLM would."""
    ignored = [file.name for file in others if not file.name.startswith("consolidated")]
    if ignored:
        raise UserError(
            f"it is not clear which weights are meant: {', '.join(ignored)} "
            f"{'is' if len(ignored) == 1 else 'are'} not read by all that load this model",
            where=str(folder),
            fix=f"leave {WEIGHTS} alone, or {INDEX} with the files that it names",
        )


def _without_weights(folder: Path, others: list[Path]) -> UserError:
    pickles = sorted(file.name for pattern in PICKLED_WEIGHTS for file in folder.glob(pattern))
    if others:
        return UserError(
            f"the folder holds no {WEIGHTS} and no {INDEX}, so {others[0].name!r} would not be "
            "read",
            where=str(folder),
            fix="copy all files of the model, with the names that save_pretrained gives them",
        )
    if pickles:
        return UserError(
            f"the weights are pickles only ({', '.join(pickles)}), which can run code when loaded",
            where=str(folder),
            fix="convert them: load the model where you trust it and call save_pretrained(path), "
            "which writes safetensors",
        )
    return UserError(
        "the folder holds no *.safetensors",
        where=str(folder),
        fix="point at a saved transformers model",
    )
