"""A model's folder, checked without torch: its weights, and whether its other files go with them.

A config that claims more than the weights hold would make gigabytes of random numbers; a tokenizer
that knows more tokens than the model would fail in the middle of a training.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.guards.errors import Faults, UserError
from stages.guards.files import exists, read_json, read_text
from stages.guards.weights import Tensor, read_tensors, weight_files

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
JSON_FILES = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
)
LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
WIDTHS = ("vocab_size", "hidden_size", "intermediate_size", "n_embd", "d_model", "head_dim")
COUNTS = ("num_attention_heads", "num_key_value_heads", "n_head", "max_position_embeddings")
UNUSED = ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")
"""Where a tokenizer's files list tokens that only a chat template would write."""
PACKED = 16
"""How many numbers of a quantised model one stored number may hold."""
DTYPES = {"float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"}


def check_model_folder(folder: Path) -> None:
    """Refuse a folder that cannot be loaded, or would be loaded as another model than it seems.

    Raises:
        UserError: all faults at once.
    """
    if exists(folder / ADAPTER):
        raise UserError(
            "holds an adapter, not a model",
            where=str(folder),
            fix="merge it first: peft's merge_and_unload, then save_pretrained",
        )
    if not exists(folder / CONFIG):
        raise UserError(
            f"the folder holds no {CONFIG}",
            where=str(folder),
            fix="point at a saved transformers model",
        )
    faults = Faults()
    tensors: dict[str, Tensor] = {}
    with faults.gather():
        for file in weight_files(folder):
            with faults.gather():
                tensors |= _refuse_repeated(read_tensors(file), tensors, file)
    contents: dict[str, dict[str, Any]] = {}
    for name in (CONFIG, *JSON_FILES):
        with faults.gather():
            contents[name] = _read_object(folder / name)
    written = ""
    for template in folder.glob("*.jinja"):
        with faults.gather():
            written += read_text(template, most=2**24)
    faults.raise_any()
    config = contents[CONFIG]
    text_config = config.get("text_config")
    text_config = config | text_config if isinstance(text_config, dict) else config
    wrong = [*_config_faults(text_config, tensors)]
    wrong += _token_faults(contents["generation_config.json"], text_config.get("vocab_size"))
    longest = contents["tokenizer_config.json"].get("model_max_length")
    if longest is not None and not _is_number(longest, int | float):
        what = f"tokenizer_config.json: 'model_max_length' is {longest!r:.80}, not a length"
        wrong.append((what, "copy tokenizer_config.json from the model again"))
    named = [
        *contents["tokenizer_config.json"].items(),
        *contents["special_tokens_map.json"].items(),
    ]
    used = [value for name, value in named if name not in UNUSED]
    written += json.dumps(used, ensure_ascii=False)
    wrong += _tokenizer_faults(contents["tokenizer.json"], text_config.get("vocab_size"), written)
    for what, fix in wrong:
        faults.add(UserError(what, where=str(folder), fix=fix))
    faults.raise_any()


def _read_object(file: Path) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none."""
    if not exists(file):
        return {}
    content = read_json(file, most=2**30)
    if not isinstance(content, dict):
        raise UserError(
            f"the file holds {type(content).__name__} where names and values are needed",
            where=str(file),
            fix="copy it from the model again",
        )
    return content


def _refuse_repeated(
    tensors: Mapping[str, Tensor], others: Mapping[str, Tensor], file: Path
) -> Mapping[str, Tensor]:
    for name in tensors:
        if name in others:
            raise UserError(
                f"the weights {name!r} are in another file too",
                where=str(file),
                fix="copy all files of the model again",
            )
    return tensors


def _config_faults(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, str]]:
    """What of a config cannot be, or cannot be of these weights."""
    fix = f"copy {CONFIG} from the model again"
    widest = max((size for tensor in tensors.values() for size in tensor.shape), default=0)
    if config.get("quantization_config"):
        widest *= PACKED
    for names, most, of_what in (
        (LAYERS, len(tensors), "tensors"),
        (WIDTHS, widest, "numbers a row"),
        (COUNTS, None, ""),
    ):
        for name in names:
            value = config.get(name)
            if value is None:
                continue
            layers = value if value and isinstance(value, list) else [value]
            if not all(_is_number(number, int) for number in layers):
                yield f"{CONFIG}: {name!r} is {value!r:.80}, not a number of at least 1", fix
            elif most is not None and max(layers) > most:
                value = max(layers)
                what = f"{CONFIG}: {name!r} is {value:,}, and the weights hold {most:,} {of_what}"
                yield what, f"{fix}: it is of another model"
    for name in ("dtype", "torch_dtype"):
        value = config.get(name)
        if value is not None and str(value).removeprefix("torch.") not in DTYPES:
            yield f"{CONFIG}: {name!r} is {value!r:.80}, which is no type of weights", fix
    classes = config.get("architectures")
    is_list = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if classes is not None and not is_list:
        yield f"{CONFIG}: 'architectures' is {classes!s:.80}, not a list of names", fix
    if not isinstance(config.get("model_type", ""), str):
        yield f"{CONFIG}: 'model_type' is {config['model_type']!r:.80}, not a name", fix
    if config.get("transformers_weights") is not None:
        what = f"{CONFIG} names weights of its own: {config['transformers_weights']!r:.80}"
        yield what, "remove `transformers_weights`"


def _is_number(value: Any, kind: Any) -> bool:
    """Whether it is a number of a kind, of at least 1."""
    return isinstance(value, kind) and not isinstance(value, bool) and value >= 1


def _token_faults(generation: Mapping[str, Any], rows: Any) -> Iterator[tuple[str, str]]:
    """Tokens that end an answer or fill a batch, and are none of the model's."""
    for name in ("eos_token_id", "pad_token_id", "bos_token_id"):
        value = generation.get(name)
        for token in value if isinstance(value, list) else [value]:
            is_number = isinstance(token, int) and not isinstance(token, bool)
            if token is None or (is_number and (not isinstance(rows, int) or token < rows)):
                continue
            what = f"generation_config.json: {name!r} is {value!r:.80}, no token of the model"
            yield what, "copy generation_config.json from the model again"


def _tokenizer_faults(
    tokenizer: Mapping[str, Any], rows: Any, written: str
) -> Iterator[tuple[str, str]]:
    """What a tokenizer writes that the model cannot read.

    A token that is added and that nothing writes does no harm: some models have one.

    Args:
        rows: the model's `vocab_size`.
        written: the chat templates, and the tokens that fill batches and end texts.
    """
    model = tokenizer.get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    largest = -1
    if isinstance(words, dict):
        largest = max((place for place in words.values() if isinstance(place, int)), default=-1)
    elif isinstance(words, list):
        largest = len(words) - 1
    added = tokenizer.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            content = str(token.get("content"))
            if content and content in written:
                largest = max(largest, token["id"])
    if isinstance(rows, int) and largest >= rows:
        yield (
            f"the tokenizer writes tokens up to number {largest:,}, and the model has {rows:,}",
            "give the model the tokenizer that it was trained with, or resize its embeddings",
        )
