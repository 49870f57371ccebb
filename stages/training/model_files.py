"""Models and tokenizers in and out: safetensors only, no remote code, saved in the type the base
model came in.

In: a Model (a local folder or a Hub id). Out: `model/` in the artifact's folder, as transformers
and vLLM load it. Adapters are merged into the weights, so nothing that follows needs peft.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from stages.runtime.artifacts import flush
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.training.arguments import lora_config
from stages.training.config import TrainingConfig
from stages.training.turn_ends import cut_after_turns

Head = Literal["language", "scalar", "classifier"]
"""What a model ends in: a vocabulary, a single number, or the classifier's labels it came with."""


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
            "the model's tokenizer has no chat template, so conversations cannot be turned into "
            "text",
            where=model.path,
            fix="put a chat_template.jinja into the model's folder, or name one in "
            "args.chat_template_path (for encoders: "
            "stages/training/reward_models/encoder_chat.jinja)",
        )
    return tokenizer


def pad_token(tokenizer: Any) -> int | None:
    """The id of the token that fills up a batch; where there is none, that of the last token."""
    pad: int | None = tokenizer.pad_token_id
    return tokenizer.eos_token_id if pad is None else pad


def refuse_adapter(model: Model) -> None:
    """Refuse a folder that holds an adapter only.

    Raises:
        UserError: with how to merge it.
    """
    if (Path(model.path) / "adapter_config.json").exists():
        raise UserError(
            "holds an adapter, not a model",
            where=model.path,
            fix="merge it first: peft's merge_and_unload, then save_pretrained",
        )


def load_model(model: Model, dtype: str, args: Mapping[str, Any], head: Head = "language") -> Any:
    """Load a model's weights.

    Args:
        dtype: type of the weights, "float32" unless memory is short.
        args: a stage's args; `model_init_kwargs` goes to transformers' `from_pretrained`.

    Raises:
        UserError: the folder holds an adapter only, damaged weights, or nothing that transformers
        can load safely.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    refuse_adapter(model)
    kind = transformers.AutoModelForCausalLM
    if head != "language":
        kind = transformers.AutoModelForSequenceClassification
    kwargs = dict(args.get("model_init_kwargs") or {})
    if head == "scalar":
        kwargs["num_labels"] = 1
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
            fix="copy it there again; if a step made it, delete "
            f"{Path(model.path).parent} and run again",
        ) from error


def load_policy(config: TrainingConfig, base: Model, context: Context) -> dict[str, Any]:
    """A language model to train, its tokenizer and its LoRA, by the names that TRL's trainers use.

    Answers end with the end of their turn (`turn_ends.py`).

    Raises:
        UserError: as `load_model` and `load_tokenizer`, or peft refuses the options.
    """
    return {
        "model": load_model(base, config.dtype, config.args),
        "processing_class": cut_after_turns(load_tokenizer(base, config.args)),
        "peft_config": lora_config(config.lora, "CAUSAL_LM", context),
    }


def save_model(trainer: Any, base: Model, folder: Path) -> None:
    """Write the trained model and its tokenizer to `folder`, completely or not at all."""
    from transformers import AutoConfig

    if not trainer.is_world_process_zero():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    came_as = AutoConfig.from_pretrained(base.path, revision=base.revision, trust_remote_code=False)
    if came_as.dtype is not None:
        model = model.to(came_as.dtype)
    # Training turns it off.
    model.config.use_cache = getattr(came_as, "use_cache", True)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    trainer.processing_class.save_pretrained(partial)
    # The checkpoints are removed next, so this must have reached the disk.
    for file in (*partial.rglob("*"), partial):
        flush(file)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
