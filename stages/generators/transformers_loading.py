"""Loading a transformers model. Needs torch."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import PositiveInt

from stages.generators.chat import ChatOptions
from stages.guards.errors import UserError
from stages.runtime.models import Model


@dataclass(frozen=True)
class Options(ChatOptions):
    """Loading and batching."""

    dtype: str = "auto"
    """torch's name, or "auto": the checkpoint's, but float32 on a CPU."""
    device: str = "auto"
    """torch's name, or "auto": a GPU where there is one."""
    max_model_len: PositiveInt | None = None
    """Context in tokens; None takes the model's own."""
    max_batch: PositiveInt = 64
    """Sequences in a batch."""
    max_batch_tokens: PositiveInt = 65536
    """Padded prompt and answer tokens in a batch: what bounds memory."""
    load: dict[str, Any] = field(default_factory=dict)
    """Further arguments of `from_pretrained`, such as attn_implementation."""


def load_model(model: Model, options: Options) -> tuple[Any, Any]:
    """Load weights (safetensors only, no code from the checkpoint) and tokenizer.

    Returns:
        The network in evaluation mode on its device, and its tokenizer.

    Raises:
        UserError: transformers cannot load the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # Credo shows its own
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = options.dtype
    if dtype == "auto" and device == "cpu":
        dtype = "float32"
    arguments = {
        "revision": model.revision,
        "dtype": dtype,
        "use_safetensors": True,
        "trust_remote_code": False,
    }
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model.path, revision=model.revision, trust_remote_code=False
        )
        network = AutoModelForCausalLM.from_pretrained(model.path, **arguments | options.load)
        network.to(torch.device(device))  # type: ignore[arg-type]  # torch's annotation
    except Exception as error:  # its layers raise anything; the user needs one line of it
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"transformers cannot load this model: {reason}",
            where=model.path,
            fix="check the folder (config.json, *.safetensors, tokenizer.json) "
            "and generator.options",
        ) from error
    return network.eval(), tokenizer


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
