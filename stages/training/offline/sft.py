"""Stage `sft`: supervised fine-tuning on answers. Its prompts never hold what the generator was
shown.

In: `model`, and any number of other inputs that hold Responses, Revisions or Pairs (of which the
chosen side is learnt). Out: a model.

The supervised phase of Constitutional AI (Bai et al. 2022, section 3.1) trains on every revision
y_1..y_K and on answers to helpful prompts; y_0, what came before the first revision, is no row of a
`revise` step. With its `only_faulty` a row can still be equal to y_0, where no critique found a
fault: `unrevised` counts those. The loss covers the answer and the end of its turn, not the prompt;
    answers that were cut off at max_tokens, or are too long for max_length, are dropped
and counted, for they would teach to stop at the wrong place. Left out: a pretrained model to start
from (give one as `model`).

A training that was killed goes on from its last whole checkpoint. Checkpoints hold `.pt` files of
the run's own making, read back only by it; they are removed when the model has been saved, which is
safetensors only.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from stages.runtime.artifacts import Artifact, Result, canonical
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Pair, Response, Revision
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.training.arguments import (
    build_arguments,
    check_options,
    identity_args,
    lora_config,
    told_as_mistake,
)
from stages.training.frame import Examples, trained


@dataclass(frozen=True)
class Config:
    """Args:
    rounds: all revisions of a response, as in the paper, or only the last.
    args: fields of TRL's SFTConfig.
    lora: fields of peft's LoraConfig, {} for its defaults; None trains all weights.
    dtype: type of the weights in training. The model is saved in the type the base model came in.
    """

    rounds: Literal["all", "last"] = "all"
    args: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def check(config: Config) -> None:
    check_options("SFTConfig", config.args, config.lora, "sft")


def identity(config: Config) -> dict[str, Any]:
    return {"args": identity_args(config.args)}


def read_examples(inputs: dict[str, Artifact], rounds: str) -> tuple[Examples, list[Dropped]]:
    """Every input's rows as TRL's prompt-completion rows, with `id`; duplicates and empty
    completions are dropped.

    Inputs follow one another by name, as they do in a step's identity.

    Raises:
        UserError: an input holds other rows, or nothing is left.
    """
    sources = {name: inputs[name] for name in sorted(inputs) if name != "model"}
    examples: Examples = []
    dropped: list[Dropped] = []
    seen: set[str] = set()
    for artifact in sources.values():
        rows: list[Any] = artifact.rows(Response, Revision, Pair)
        final = (
            {row.response_id: row.id for row in rows if isinstance(row, Revision)}
            if rounds == "last"
            else {}
        )
        for row in rows:
            completion = row.chosen if isinstance(row, Pair) else row.response
            key = canonical([row.prompt, completion])
            reason = ""
            if final and final[row.response_id] != row.id:
                reason = "not the last revision"
            elif not completion.strip():
                reason = "empty completion"
            elif isinstance(row, Response) and row.finish_reason == "length":
                reason = "cut off at max_tokens"
            elif key in seen:
                reason = "duplicate"
            if reason:
                dropped.append(Dropped(id=row.id, reason=reason))
                continue
            seen.add(key)
            answer = [{"role": "assistant", "content": completion}]
            unrevised = isinstance(row, Revision) and row.response == row.original
            examples.append(
                {"id": row.id, "prompt": row.prompt, "completion": answer, "unrevised": unrevised}
            )
    if not examples:
        named = ", ".join(f"{name!r} (step {a.step!r})" for name, a in sources.items())
        raise UserError(
            f"no row is left to train on: of {len(dropped)}, all were dropped"
            if dropped
            else "there is no row to train on",
            where=f"input {named}" if named else "the step's `inputs`",
            fix="see that step's dropped.parquet for reasons"
            if named
            else "add an input with Responses or Revisions",
        )
    return examples, dropped


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no rows, unusable options, a model that cannot be loaded, memory or disk used up,
        a diverged loss.
    """
    check_options("SFTConfig", config.args, config.lora, "sft")
    examples, dropped = read_examples(inputs, config.rounds)

    def build(kept: Examples) -> Any:
        return build_trainer(config, inputs, kept, context)

    def measure(
        _: Any, kept: Examples
    ) -> dict[str, Any]:  # the trainer may have packed several rows into one
        return {"n": len(kept), "unrevised": sum(example["unrevised"] for example in kept)}

    return trained("SFTConfig", config, inputs, context, examples, dropped, build, measure=measure)


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs=("model",),
    optional=ANY,
    trains=True,
    check=check,
    identity=identity,
)


def build_trainer(
    config: Config, inputs: dict[str, Artifact], examples: Examples, context: Context
) -> Any:
    """TRL's SFTTrainer over the input model; nothing is trained yet."""
    from datasets import Dataset
    from trl import SFTTrainer

    from stages.training.model_files import load_model, load_tokenizer

    base = inputs["model"].model()
    model = load_model(base, config.dtype, config.args)
    tokenizer, lora = (
        load_tokenizer(base, config.args),
        lora_config(config.lora, "CAUSAL_LM", context),
    )
    with told_as_mistake("the trainer refuses the options", context):
        return SFTTrainer(
            model=model,
            args=build_arguments("SFTConfig", config.args, context, completion_only_loss=True),
            train_dataset=Dataset.from_list(examples),
            processing_class=tokenizer,
            peft_config=lora,
        )
