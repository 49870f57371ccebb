"""The fields of the libraries' classes of options: their names, types and choices.

The libraries' sources are read as text, so that a plan need not import torch.
"""

import ast
import importlib.util
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError

_TRAINING = [
    ("trl", "trainer/base_config.py", "_BaseConfig"),
    ("transformers", "training_args.py", "TrainingArguments"),
]
SOURCES = {
    "SFTConfig": [("trl", "trainer/sft_config.py", "SFTConfig"), *_TRAINING],
    "DPOConfig": [("trl", "trainer/dpo_config.py", "DPOConfig"), *_TRAINING],
    "RewardConfig": [("trl", "trainer/reward_config.py", "RewardConfig"), *_TRAINING],
    "KTOConfig": [("trl", "trainer/kto_config.py", "KTOConfig"), *_TRAINING],
    "GRPOConfig": [("trl", "trainer/grpo_config.py", "GRPOConfig"), *_TRAINING],
    "RLOOConfig": [("trl", "trainer/rloo_config.py", "RLOOConfig"), *_TRAINING],
    "OnlineDPOConfig": [
        ("trl", "experimental/online_dpo/online_dpo_config.py", "OnlineDPOConfig"),
        *_TRAINING,
    ],
    "PPOConfig": [
        ("stages", "training/online/ppo_config.py", "PPOConfig"),
        ("trl", "trainer/grpo_config.py", "GRPOConfig"),
        *_TRAINING,
    ],
    "LoraConfig": [
        ("peft", "tuners/lora/config.py", "LoraConfig"),
        ("peft", "config.py", "PeftConfig"),
        ("peft", "config.py", "PeftConfigMixin"),
    ],
}
"""Where a config's fields are written down: package, file, class."""
_DOCUMENTED = {
    "scale_rewards": "str | Literal[True, False]",
    "fsdp": "str | list[str] | Literal[True, False] | None",
}
"""Types that the libraries document and accept, and write down more narrowly."""
_ENUMS = [("transformers", "training_args.py"), ("transformers", "trainer_utils.py")]
"""Where the libraries list what may be chosen."""


@cache
def known_fields(config_class: str) -> dict[str, str]:
    """Fields of a config in `SOURCES` and their types as written, without importing it.

    Raises:
        UserError: the package is not installed.
    """
    types: dict[str, str] = {}
    for package, file, class_name in SOURCES[config_class]:
        for node in _parse(package, file).body:
            if isinstance(node, ast.ClassDef) and node.name == class_name:
                types = _annotated_fields(node) | types
    return types | {name: kind for name, kind in _DOCUMENTED.items() if name in types}


@cache
def enum_values(name: str) -> tuple[str, ...]:
    """What a library's enumeration allows; empty for any other class."""
    for package, file in _ENUMS:
        for node in _parse(package, file).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                lines = [line for line in node.body if isinstance(line, ast.Assign)]
                values = [line.value for line in lines]
                return tuple(str(v.value) for v in values if isinstance(v, ast.Constant))
    return ()


@cache
def _parse(package: str, file: str) -> ast.Module:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"{package} is not installed",
            where="the training stages",
            fix="install the requirements",
        )
    return ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))


def _annotated_fields(node: ast.ClassDef) -> dict[str, str]:
    types = {}
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            types[line.target.id] = ast.unparse(line.annotation)
    return types


def fits(written: str, value: Any) -> bool:
    """Whether a value of a YAML file is of a type that a source states.

    A list of one may be written as its element. Numbers are finite. `null` is no for a yes or no.
    """
    return any(_is_of(kind, value) for kind in _alternatives(written))


@cache
def _alternatives(written: str) -> list[ast.expr]:
    kinds = list(_parts(ast.parse(written, mode="eval").body))
    # `SchedulerType | str` means the name of a scheduler.
    if any(isinstance(kind, ast.Name) and enum_values(kind.id) for kind in kinds):
        kinds = [kind for kind in kinds if ast.unparse(kind) != "str"]
    return kinds


def describe(written: str) -> str:
    """A type for a message: "a number"."""
    texts = []
    for kind in _alternatives(written):
        name = ast.unparse(kind)
        choices = enum_values(name) if isinstance(kind, ast.Name) else ()
        if name.startswith("Literal"):
            choices = tuple(str(n.value) for n in ast.walk(kind) if isinstance(n, ast.Constant))
        text = {
            "int": "a whole number",
            "float": "a number",
            "bool": "a yes or no (true, false)",
            "str": "a text",
            "None": "null",
        }.get(name, f"of the type {name}")
        texts.append(f"one of {', '.join(choices)}" if choices else text)
    return " or ".join(dict.fromkeys(texts))


def _parts(node: ast.expr) -> Iterable[ast.expr]:
    """The alternatives of a union."""
    if isinstance(node, ast.BinOp):
        yield from _parts(node.left)
        yield from _parts(node.right)
    elif isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("Optional", "Union"):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for part in inner:
            yield from _parts(part)
        if ast.unparse(node.value) == "Optional":
            yield ast.Constant(None)
    else:
        yield node


def _is_of(kind: ast.expr, value: Any) -> bool:
    name = ast.unparse(kind.value if isinstance(kind, ast.Subscript) else kind)
    if name == "None":
        return value is None
    if name == "bool":
        return isinstance(value, bool) or value is None
    if name in ("int", "float"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            return False
        return name == "float" or value == int(value)
    if name == "str":
        return isinstance(value, str)
    if name == "dict":
        return isinstance(value, Mapping)
    if name == "Literal" and isinstance(kind, ast.Subscript):
        allowed = [node.value for node in ast.walk(kind.slice) if isinstance(node, ast.Constant)]
        # Some end in a number of the user's: `pissa_niter_[number of iters]`.
        starts = [str(text).partition("[")[0] for text in allowed if "[" in str(text)]
        return value in allowed or any(str(value).startswith(start) for start in starts)
    if name in ("list", "tuple"):
        inner = kind.slice if isinstance(kind, ast.Subscript) else None
        if isinstance(inner, ast.Tuple):
            inner = inner.elts[0]
        values = value if isinstance(value, list | tuple) else [value]
        written = ast.unparse(inner) if inner is not None else "Any"
        return all(fits(written, element) for element in values)
    choices = enum_values(name)
    if choices:
        return isinstance(value, str) and value in choices
    # A class of the library's own is built from a mapping, if at all.
    return name == "Any" or isinstance(value, Mapping)
