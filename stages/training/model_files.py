"""Models and tokenizers in and out: safetensors only, no remote code, saved in the type the base
model came in.

In: a Model (a local folder or a Hub id). Out: `model/` in the artifact's folder, as transformers
and vLLM load it. Adapters are merged into the weights, so nothing that follows needs peft.
"""

import copy
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from stages.generators.chat import collect_variables
from stages.generators.examination import Examination, examine_chat, show_once
from stages.generators.transformers_loading import first_lines, holds_nan, load_network
from stages.generators.transformers_loading import load_tokenizer as open_tokenizer
from stages.generators.transformers_sampling import find_end_tokens
from stages.guards import templates
from stages.guards.disk import flush
from stages.guards.errors import UserError
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.training.arguments import lora_config
from stages.training.config import TrainingConfig
from stages.training.session import count_warning
from stages.training.turn_ends import cut_after_turns

Head = Literal["language", "scalar", "classifier"]
"""What a model ends in: a vocabulary, a single number, or the classifier's labels it came with."""


def load_tokenizer(model: Model, args: Mapping[str, Any]) -> Any:
    """Load a model's tokenizer, with the chat template that `args` name, if they do.

    Raises:
        UserError: it has no chat template, and `args` brings none; or no token to pad with.
    """
    tokenizer = open_tokenizer(model)
    template = read_template(args)
    if template:
        tokenizer.chat_template = template
    if pad_token(tokenizer) is None:
        raise UserError(
            "the tokenizer has neither a pad token nor an end token, so texts of different length "
            "cannot form a batch",
            where=model.path,
            fix="set pad_token in tokenizer_config.json in the model's folder",
        )
    if not tokenizer.chat_template:
        raise UserError(
            "the model's tokenizer has no chat template, so conversations cannot be turned into "
            "text",
            where=model.path,
            fix="put a chat_template.jinja into the model's folder, or name one in "
            "args.chat_template_path (for encoders: "
            "stages/training/reward_models/encoder_chat.jinja)",
        )
    return tokenizer


def read_template(args: Mapping[str, Any]) -> str | None:
    """The chat template that `args` bring: a file, or another model's, as in TRL.

    Raises:
        UserError: it cannot be read.
    """
    from transformers import AutoTokenizer

    path = str(args.get("chat_template_path") or "")
    if not path:
        return None
    if path.endswith(templates.ENDINGS):
        return templates.read_template(path)
    try:
        template: str | None = AutoTokenizer.from_pretrained(
            path, trust_remote_code=False
        ).chat_template
    except Exception as error:  # transformers' layers raise anything
        raise UserError(
            f"the chat template cannot be read: {first_lines(error)}",
            where=path,
            fix="fix args.chat_template_path",
        ) from None
    return template


def template_variables(context: Context) -> dict[str, Any]:
    """The variables of the generator's chat template, with `merge_system` where it is set."""
    options = context.engines.answer_options
    return collect_variables(options.get("template_arguments") or {}, options.get("merge_system"))


def pad_token(tokenizer: Any) -> int | None:
    """The id of the token that fills up a batch; where there is none, that of the last token."""
    pad: int | None = tokenizer.pad_token_id
    return tokenizer.eos_token_id if pad is None else pad


def load_model(
    model: Model,
    dtype: str,
    args: Mapping[str, Any],
    head: Head = "language",
    new_output: bool = False,
    outputs: int = 1,
) -> Any:
    """Load a model's weights.

    Args:
        dtype: type of the weights, "float32" unless memory is short.
        args: a stage's args; `model_init_kwargs` goes to transformers' `from_pretrained`.
        new_output: a scalar model may get a new output layer: it is to be trained.
        outputs: of a scalar model: how many numbers it ends in.

    Raises:
        UserError: as `load_network`.
    """
    import torch
    import transformers

    kind = transformers.AutoModelForCausalLM
    if head != "language":
        kind = transformers.AutoModelForSequenceClassification
    kwargs = dict(args.get("model_init_kwargs") or {})
    if head == "scalar":
        kwargs["num_labels"] = outputs
    return load_network(kind, model, {**kwargs, "dtype": getattr(torch, dtype)}, new_output)


def load_policy(config: TrainingConfig, base: Model, context: Context) -> dict[str, Any]:
    """A language model to train, its tokenizer and its LoRA, by the names that TRL's trainers use.

    The model stops at the token with which its chat template ends a turn, and so does what is saved
    of it. Answers end with the end of their turn (`turn_ends.py`).

    Raises:
        UserError: as `load_model`, `load_tokenizer` and `examine_chat`, or peft refuses the
        options.
    """
    model = load_model(base, config.policy_dtype, config.args)
    tokenizer = load_tokenizer(base, config.args)
    examination = examine_policy(model, tokenizer, base, context)
    for warning in examination.warnings:
        count_warning(warning)
    show_once(base.path, examination.warnings, context.console)
    if examination.extra_stops:
        stops = find_end_tokens(model, tokenizer)
        model.generation_config.eos_token_id = sorted({*stops, *examination.extra_stops})
    return {
        "model": model,
        "processing_class": cut_after_turns(tokenizer),
        "peft_config": lora_config(config.lora, "CAUSAL_LM", context),
    }


def examine_policy(model: Any, tokenizer: Any, base: Model, context: Context) -> Examination:
    """What the chat template of a model that is to be trained does around an answer.

    Raises:
        UserError: as `examine_chat`.
    """
    stops = find_end_tokens(model, tokenizer)
    variables = template_variables(context)
    marks = context.engines.thought_marks
    examination = examine_chat(tokenizer, stops, variables, marks, base.path)
    if tokenizer.pad_token_id is not None:
        return examination
    pad = f"the tokenizer has no pad token: batches are filled with {tokenizer.eos_token!r}"
    return replace(examination, warnings=(*examination.warnings, pad))


def save_model(trainer: Any, base: Model, folder: Path, is_final: bool = True) -> None:
    """Write the trained model and its tokenizer to `folder`, completely or not at all.

    Args:
        is_final: it is not trained any further, so that no copy has to be made of it.
    """
    from transformers import AutoConfig

    if not trainer.is_world_process_zero():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not is_final:
        model = copy.deepcopy(model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    came_as = AutoConfig.from_pretrained(base.path, revision=base.revision, trust_remote_code=False)
    if came_as.dtype is not None:
        model = model.to(came_as.dtype)
    if holds_nan(model):
        raise UserError(
            "the trained weights hold NaN: the training has diverged, and nothing is saved",
            where=str(folder.parent),
            fix="lower args.learning_rate, lengthen args.warmup_steps, set args.max_grad_norm "
            f"lower or `dtype: float32`, and delete {trainer.args.output_dir}",
        )
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
