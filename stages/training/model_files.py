"""Models and tokenizers in and out: safetensors only, no remote code, and out in the type the base
model came in.

In: a Model (a local folder or a Hub id). Out: `model/` in the artifact's folder, as transformers
and vLLM load it. Adapters are merged into the weights, so nothing that follows needs peft.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.runtime.artifacts import flush
from stages.runtime.errors import UserError
from stages.runtime.models import Model


def load_tokenizer(model: Model, args: Mapping[str, Any]) -> Any:
    """Load a model's tokenizer.

    Raises:
        UserError: it has no chat template, and `args` brings none.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        model.path, revision=model.revision, trust_remote_code=False
    )
    if not tokenizer.chat_template and not args.get("chat_template_path"):
        raise UserError(
            "the model's tokenizer has no chat template, so conversations cannot be turned into text",
            where=model.path,
            fix="put a chat_template.jinja into the model's folder, or name one in args.chat_template_path (for encoders: "
            "stages/training/reward_models/encoder_chat.jinja)",
        )
    return tokenizer


def refuse_adapter(model: Model) -> None:
    """Raises:
    UserError: the folder holds an adapter only.
    """
    if (Path(model.path) / "adapter_config.json").exists():
        raise UserError(
            "holds an adapter, not a model",
            where=model.path,
            fix="merge it first: peft's merge_and_unload, then save_pretrained",
        )


def load_model(model: Model, dtype: str, args: Mapping[str, Any], scalar: bool = False) -> Any:
    """Load the weights for training: a language model, or one with a single output if `scalar`.

    Args:
        dtype: type of the weights in training, "float32" unless memory is short.
        args: the stage's args; `model_init_kwargs` goes to transformers' `from_pretrained`.

    Raises:
        UserError: the folder holds an adapter only, damaged weights, or nothing that transformers
        can load safely.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    refuse_adapter(model)
    kind = (
        transformers.AutoModelForSequenceClassification
        if scalar
        else transformers.AutoModelForCausalLM
    )
    kwargs = dict(args.get("model_init_kwargs") or {}) | ({"num_labels": 1} if scalar else {})
    safe = {
        "revision": model.revision,
        "dtype": getattr(torch, dtype),
        "trust_remote_code": False,
        "use_safetensors": True,
    }
    try:
        return kind.from_pretrained(model.path, **{**kwargs, **safe})
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"the model cannot be loaded: {str(error).splitlines()[0]}",
            where=model.path,
            fix="give a model that transformers knows, with weights in safetensors",
        ) from error
    except SafetensorError as error:
        raise UserError(
            f"the model's weights are damaged: {error}",
            where=model.path,
            fix=f"put it there anew; if a step made it, delete {Path(model.path).parent} and run again",
        ) from error


def save_model(trainer: Any, base: Model, folder: Path) -> None:
    """Write the trained model and its tokenizer to `folder`, whole or not at all."""
    from transformers import AutoConfig

    if not trainer.is_world_process_zero():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    came_as = AutoConfig.from_pretrained(base.path, revision=base.revision, trust_remote_code=False)
    if came_as.dtype is not None:
        model = model.to(came_as.dtype)
    model.config.use_cache = getattr(came_as, "use_cache", True)  # training turns it off
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    trainer.processing_class.save_pretrained(partial)
    for file in (*partial.rglob("*"), partial):  # the checkpoints are removed next
        flush(file)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
