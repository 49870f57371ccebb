"""Stage `sft`: supervised fine-tuning on answers.

In: `model`, and any number of other inputs that hold Responses, Revisions or Pairs (of which the
chosen side is learnt). Out: a model. A prompt is the request alone, without what the generator was
shown beside it.

The supervised phase of Constitutional AI (Bai et al. 2022, section 3.1) trains on every revision
y_1..y_K and on answers to helpful prompts; y_0, what came before the first revision, is not a row
of a `revise` step. With its `only_faulty` a row can still be equal to y_0, where no critique found
a fault: `unrevised` counts those. The loss covers the answer and the end of its turn, not the
prompt; answers that were cut off at max_tokens, or are too long for max_length, are dropped and
counted, because they would teach the model to stop at the wrong place. Left out: a pretrained model
to start from (give one as `model`).

A training that was killed goes on from its last complete checkpoint. Checkpoints hold `.pt` files
of the run's own making, read back only by it; they are removed when the model has been saved, which
is safetensors only.
"""

from dataclasses import dataclass
from typing import Any, Literal

from stages.guards.text import is_visible
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Pair, Response, Revision
from stages.runtime.typed_config import machine
from stages.text.cut_off import ending_fault
from stages.training.arguments import build_arguments
from stages.training.config import TrainingConfig, training_stage
from stages.training.examples import Sieve, nothing_left, other_inputs, prepare_examples
from stages.training.frame import Examples, Training, create_trainer, run_training
from stages.training.model_files import load_policy


@dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """`args` are fields of TRL's SFTConfig."""

    stage = "sft"
    trainer_options = "SFTConfig"
    rounds: Literal["all", "last"] = "all"
    """All revisions of a response, as in the paper, or only the last that was finished."""
    keep_if_empty: bool = machine(False)
    """Without an example, give the model as it is and train nothing, in place of stopping: a round
    of a loop may have nothing to learn.
    """


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no rows, unusable options, a model that cannot be loaded, memory or disk used up,
        a diverged loss.
    """
    examples, dropped = read_examples(inputs, config.rounds, config.keep_if_empty)
    if not examples:
        return point_at(inputs["model"].model(), dropped)

    def build(base: Model) -> Training:
        fitting, too_long = prepare_examples(examples, base, config, context)
        unrevised = sum(example["unrevised"] for example in fitting)
        # The trainer may pack several rows into one, so it cannot count them.
        counts = {"n": len(fitting), "unrevised": unrevised}
        return Training(build_trainer(config, base, fitting, context), too_long, counts)

    return run_training(config, inputs, context, build, dropped=dropped)


STAGE = training_stage(
    version=3,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"*": Response | Revision | Pair},
    least=1,
    gives=Model,
    reads={
        Response: ("id", "prompt", "response", "finish_reason"),
        Revision: ("id", "response_id", "prompt", "response", "original", "finish_reason"),
        Pair: ("id", "prompt", "chosen", "chosen_finish_reason"),
    },
    meant_to_drop=("not the last revision",),
)


def read_examples(
    inputs: dict[str, Artifact], rounds: str, may_be_empty: bool = False
) -> tuple[Examples, list[Dropped]]:
    """Every input's rows as TRL's prompt-completion rows, with `id`; duplicates and empty
    completions are dropped.

    Inputs follow one another by name, as they do in a step's identity.

    Raises:
        UserError: an input holds other rows, or no row is left and that may not be.
    """
    sources = other_inputs(inputs, "model")
    examples: Examples = []
    sieve = Sieve()
    for artifact in sources.values():
        rows: list[Any] = artifact.rows(Response, Revision, Pair)
        last_ids: dict[str, str] = {}
        if rounds == "last":
            last_ids = {row.response_id: row.id for row in rows if isinstance(row, Revision)}
        for row in rows:
            is_pair = isinstance(row, Pair)
            completion = row.chosen if is_pair else row.response
            ending = row.chosen_finish_reason if is_pair else row.finish_reason
            fault = ending_fault(ending)
            if last_ids and last_ids[row.response_id] != row.id:
                fault = "not the last revision"
            elif not is_visible(completion):
                fault = "empty completion"
            if sieve.accepts(row, fault, row.prompt, completion):
                example = {
                    "id": row.id,
                    "prompt": row.prompt,
                    "completion": [{"role": "assistant", "content": completion}],
                    "unrevised": isinstance(row, Revision) and row.response == row.original,
                }
                examples.append(example)
    if not examples and not may_be_empty:
        advice = "give it Responses, Revisions or Pairs with text"
        raise nothing_left(sources, sieve.dropped, "row", advice)
    return examples, sieve.dropped


def point_at(base: Model, dropped: list[Dropped]) -> Result:
    """Return what a step without an example gives: the model that it would have started from."""
    facts = {"model_path": base.path, "revision": base.revision, "content": base.content}
    warnings = []
    if dropped:
        warnings = [f"nothing was trained: none of {len(dropped)} rows can be learnt"]
    return Result(dropped=dropped, metrics={"n": 0, "steps": 0, **facts}, warnings=warnings)


def build_trainer(config: Config, base: Model, examples: Examples, context: Context) -> Any:
    """TRL's SFTTrainer over the base model; nothing is trained yet."""
    from trl import SFTTrainer

    policy = load_policy(config, base, context)
    arguments = build_arguments("SFTConfig", config.args, context, completion_only_loss=True)
    return create_trainer(SFTTrainer, examples, [], context, **policy, args=arguments)
