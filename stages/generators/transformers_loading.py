"""Loading a transformers model: safetensors only, no code that comes with it, nothing made up.

transformers fills weights that the files lack with random numbers, and goes on. Here they are
refused, and so is a config that needs far more memory than the files hold. Needs torch.
"""

import os
import re
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PositiveInt

from stages.generators.chat import ChatOptions
from stages.guards.errors import UserError
from stages.guards.model_folder import PACKED
from stages.guards.weights import INDEX, index_names, read_tensors, weight_files
from stages.runtime.models import Model, refuse_changed

SAFE = {"trust_remote_code": False, "use_safetensors": True, "ignore_mismatched_sizes": True}
"""Sizes that do not match are refused here, with their names."""
OWNED_ARGUMENTS = {
    *SAFE,
    "pretrained_model_name_or_path",
    "output_loading_info",
    "weights_only",
    "revision",
    "variant",
    "subfolder",
    "gguf_file",
    "state_dict",
    "config",
    "adapter_kwargs",
    "use_kernels",
    "key_mapping",
    "token",
}
"""Arguments of `from_pretrained` that would load something else than what was checked."""
CHECK_FOLDER = (
    "check the folder (config.json, *.safetensors, tokenizer.json) and the options of loading it"
)
TOKENS_AT_ONCE = 65536
OUTPUT_LAYERS = {"score", "classifier", "classification_head", "pre_classifier", "pooler", "head"}
OUTPUT_LAYERS |= {"sequence_summary", "logits_proj"}
"""Layers that a model gets anew where it becomes a reward model."""


def refuse_owned(owned: Set[str], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments; refuse those that Credo sets itself.

    Raises:
        ValueError: naming them.
    """
    if taken := sorted(owned & set(arguments)):
        raise ValueError(f"{', '.join(taken)} cannot be set: what is checked is what is loaded")
    return arguments


@dataclass(frozen=True)
class Options(ChatOptions):
    """Loading and batching."""

    dtype: str = "auto"
    """torch's name, or "auto": the checkpoint's, but float32 on a CPU."""
    device: str = "auto"
    """torch's name, or "auto": a GPU where there is one."""
    max_model_len: PositiveInt | None = None
    """Context in tokens; None takes the model's own."""
    max_batch: PositiveInt | None = None
    """Sequences in a batch; None: 64, on a GPU 512."""
    max_batch_tokens: PositiveInt | None = None
    """Padded prompt and answer tokens in a batch: what bounds memory. None: 65,536, on a GPU as
    many as a quarter of its free memory holds keys and values of."""
    graphs: bool = False
    """On a GPU, run each step of writing as one CUDA graph. Not yet tried on a card."""
    load: Annotated[dict[str, Any], AfterValidator(partial(refuse_owned, OWNED_ARGUMENTS))] = field(
        default_factory=dict
    )
    """Further arguments of `from_pretrained`, such as attn_implementation."""


def load_model(model: Model, options: Options) -> tuple[Any, Any]:
    """Load weights and tokenizer.

    Returns:
        The network in evaluation mode on its device, and its tokenizer.

    Raises:
        UserError: as `load_network` and `load_tokenizer`.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # Credo shows its own
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = options.dtype
    if dtype == "auto" and device == "cpu":
        dtype = "float32"
    tokenizer = load_tokenizer(model)
    network = load_network(AutoModelForCausalLM, model, {"dtype": dtype, **options.load})
    with _as_user_error(model, "check generator.options.device"):
        network.to(torch.device(device))
    return network.eval(), tokenizer


def load_tokenizer(model: Model) -> Any:
    """Load a model's tokenizer.

    Raises:
        UserError: transformers cannot.
    """
    from transformers import AutoTokenizer

    with _as_user_error(model, CHECK_FOLDER, "tokenizer"):
        return AutoTokenizer.from_pretrained(
            model.path, revision=model.revision, trust_remote_code=False
        )


def load_network(
    auto_class: Any, model: Model, arguments: Mapping[str, Any], new_output: bool = False
) -> Any:
    """Load a model's weights, all of them and nothing else.

    Args:
        auto_class: such as transformers' AutoModelForCausalLM.
        arguments: of its `from_pretrained`, but those in `OWNED_ARGUMENTS`.
        new_output: the layers in `OUTPUT_LAYERS` may be new: they are to be trained.

    Raises:
        UserError: transformers cannot load it, its files lack weights or hold others, its config
            needs more memory than the files hold, a weight is NaN, or a file has changed.
    """
    with _as_user_error(model, CHECK_FOLDER):
        try:
            refuse_owned(OWNED_ARGUMENTS, arguments)
        except ValueError as error:
            raise UserError(str(error), where=model.path, fix="remove them") from None
        if os.path.isdir(model.path):
            _refuse_too_large(auto_class, model)
        else:
            _refuse_unsafe_index(model)
        network, facts = auto_class.from_pretrained(
            model.path, revision=model.revision, **arguments, **SAFE, output_loading_info=True
        )
        _refuse_unlike(network, facts, model, new_output)
        bad = holds_nan(network)
        if bad:
            raise UserError(
                f"the weights {bad!r} hold NaN, so every answer would be nonsense",
                where=model.path,
                fix="take a checkpoint from before the training diverged",
            )
    refuse_changed(model)
    return network


def first_lines(error: BaseException, most: int = 300) -> str:
    """Return what an error says: its first line, or the first two where the first only opens."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, KeyError):
        return f"there is no {lines[0]}"
    text = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return text if len(text) <= most else text[:most] + " ..."


@contextmanager
def _as_user_error(model: Model, fix: str, what: str = "model") -> Iterator[None]:
    """Whatever loading raises becomes one line: the files are the user's, and so are the options.

    The tokenizers' library raises what is no Exception.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError:
        raise UserError(
            "memory ran out while the model was loaded",
            where=model.path,
            fix="set a smaller dtype, or use a machine with more memory",
        ) from None
    except BaseException as error:
        raise UserError(
            f"transformers cannot load this {what}: {first_lines(error)}",
            where=model.path,
            fix=fix,
        ) from error


def _refuse_too_large(auto_class: Any, model: Model) -> None:
    """Refuse a config that describes a far larger model than the files hold, before it is made."""
    import torch
    from transformers import AutoConfig
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    folder = Path(model.path)
    if is_deepspeed_zero3_enabled():  # the weights of its models are elsewhere
        return
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        empty = auto_class.from_config(config, trust_remote_code=False)
    needed = sum(weight.numel() for weight in empty.parameters())
    stored = sum(
        tensor.numbers for file in weight_files(folder) for tensor in read_tensors(file).values()
    )
    packed = PACKED if getattr(config, "quantization_config", None) else 2
    if needed > packed * stored + 2**20:
        raise UserError(
            f"config.json describes a model of {needed:,} weights, and the files hold {stored:,}",
            where=model.path,
            fix="copy config.json from the model again: it is of another model",
        )


def _refuse_unsafe_index(model: Model) -> None:
    """Refuse a model of the Hub whose index names other files than safetensors."""
    from transformers.utils import cached_file

    index = cached_file(
        model.path,
        INDEX,
        revision=model.revision,
        _raise_exceptions_for_missing_entries=False,
    )
    if index:
        index_names(Path(index))


def _refuse_unlike(network: Any, facts: Mapping[str, Any], model: Model, new_output: bool) -> None:
    """Refuse weights that were made up, and those of layers that the model does not have."""
    if getattr(network, "_hf_peft_config_loaded", False):
        raise UserError(
            "this is an adapter, not a model",
            where=model.path,
            fix="merge it first: peft's merge_and_unload, then save_pretrained",
        )
    missing = [
        name
        for name in sorted(facts["missing_keys"])
        if not (new_output and OUTPUT_LAYERS & set(name.split(".")))
    ]
    if missing:
        raise UserError(
            f"the files lack {_count(missing)} of the model's weights, which transformers would "
            "make up",
            where=model.path,
            fix="copy all files of the model; a reward model needs the output layer that it was "
            "trained with",
        )
    sizes = sorted(facts["mismatched_keys"], key=str)
    mismatched = [f"{name} {tuple(had)} for {tuple(need)}" for name, had, need in sizes]
    if mismatched:
        raise UserError(
            f"the sizes of {_count(mismatched)} weights do not match config.json",
            where=model.path,
            fix="copy config.json and the weights from the same model",
        )
    prefix = network.base_model_prefix
    kinds = {_kind(name, prefix) for name in network.state_dict()}
    extra = [name for name in sorted(facts["unexpected_keys"]) if _kind(name, prefix) in kinds]
    if extra:
        raise UserError(
            f"the files hold {_count(extra)} weights of layers that config.json leaves out",
            where=model.path,
            fix="copy config.json from the model again: it is of another model",
        )


def _kind(name: str, prefix: str) -> str:
    """A weight's name without the number of its layer."""
    return re.sub(r"\d+", "#", name.removeprefix(f"{prefix}."))


def _count(names: list[str]) -> str:
    return f"{len(names)} ({names[0]}{', ...' if len(names) > 1 else ''})"


def holds_nan(network: Any) -> str:
    """Return the name of a weight that holds NaN, or ""."""
    import torch

    numbers = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    for name, weight in network.named_parameters():
        if weight.dtype in numbers and weight.device.type != "meta" and weight.isnan().any():
            return str(name)
    return ""


def context_limit(network: Any, model: Model, options: Options) -> int:
    """Return the context in tokens: the user's limit, or else the model's own.

    Raises:
        UserError: neither is known.
    """
    config = network.config.get_text_config()
    limit = options.max_model_len or getattr(config, "max_position_embeddings", None)
    if not limit:
        raise UserError(
            "the model's config does not state its context",
            where=model.path,
            fix="set generator.options.max_model_len",
        )
    return limit


def batch_limits(network: Any, options: Options) -> tuple[int, int]:
    """Return the most sequences and the most tokens in a batch.

    A GPU takes about as long for a token of 512 texts as for one of 64.
    """
    if network.device.type != "cuda":
        return options.max_batch or 64, options.max_batch_tokens or TOKENS_AT_ONCE
    import torch

    config = network.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    bytes_per_token = 2 * config.num_hidden_layers * heads * width * network.dtype.itemsize
    free, _ = torch.cuda.mem_get_info(network.device)
    tokens = min(free // 4 // bytes_per_token, 4 * TOKENS_AT_ONCE)
    return options.max_batch or 512, options.max_batch_tokens or max(tokens, 2048)
