"""Stage `rule_model`: a classifier that reads a rule or a value: does a response keep it?

In: `model` (a language model, or a rule model to go on from) and any inputs of Rating rows whose
`scores` are P(the principle is kept), one for each of the row's principles: of a `rate` step with
the scale {"Yes": 1, "No": 0}, or of people (`human_labels`). Out: a model with one output, the
log-odds that the response keeps the principle that it reads. `score` and the rewards read it as a
probability; with `each: true` they get one for each principle.

It is the rule reward model of Sparrow (Glaese et al. 2022, arXiv 2209.14375): one classifier for
all rules, which reads the rule's text, so that it can be asked about others without training. With
fourteen categories of harm in place of rules it is the multi-label classifier of BeaverTails (Ji et
al. 2023, arXiv 2307.04657). Labels may be soft; the loss is their cross entropy.

With `objective: value` or `value_classes` labels go from -1 (opposed to the value) over 0 (no
connection) to 1, and so do the scores that are read: it is the value evaluator of Value FULCRA (Yao
et al. 2024, arXiv 2311.10766), with tanh of one output and the squared error, or three classes.

A part of the prompts is held out: the share of texts on the right side of one half, and, because
few texts break a rule, the area under the ROC curve (one half is chance). Left out: balanced
classes, which would move the probabilities.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from stages.doubts.trainings import doubt_classes
from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.guards.text import is_visible
from stages.principles.assign import assign_many
from stages.principles.constitution import Principle, by_subject
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Message, Rating
from stages.runtime.store import derive_fraction
from stages.runtime.typed_config import Count, NotNegative, machine
from stages.text.cut_off import row_fault
from stages.training.config import training_identity, training_stage
from stages.training.examples import Sieve, nothing_left
from stages.training.frame import Examples, Training, run_training
from stages.training.held_out import check_held_out, is_held_out
from stages.training.reward_models.format import (
    LAYOUT,
    VALUES,
    RewardFormat,
    make_format,
    write_format,
)
from stages.training.reward_models.reward_examples import prepare_pairs
from stages.training.reward_models.reward_model import (
    Options,
    build_trainer,
    refuse_other_layout,
)

VALUE_ADVICE = (
    "give the step labels of people (`human_answers` with a constitution), or ratings of a `rate` "
    'step with scale: {"Yes": 1, "No": -1}'
)
ADVICE = 'give the step ratings of a `rate` step with scale: {"Yes": 1, "No": 0}'


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    stage = "rule_model"
    objective: Literal["compliance", "value", "value_classes"] = "compliance"
    """What the output means: the log-odds that a rule is kept, a label from -1 to 1, or the logits
    of the labels -1, 0 and 1.
    """
    zeros: NotNegative | None = machine(None)  # `identity` adds it, if set
    """Of an answer's values with the label 0, how many are learnt for each other one, drawn by a
    hash; FULCRA's evaluator has 0.5. Null: all. Those that are held out keep all.
    """
    constitution: Selection
    """The principles, and what the model reads of them; labels of others are left out."""
    template: str = LAYOUT
    """What the model reads, given request, response and principles (one)."""
    draw: Count | None = None
    """Under how many of its principles each answer is learnt, drawn by weight; null: all. The one
    that its request was written to break (whose id or dimension is the request's kind) is always
    among them.
    """


def identity(config: Config) -> dict[str, Any]:
    return {
        **training_identity(config),
        "constitution": select(config.constitution).identity("text", "opposite", "weight"),
        "template": template_hash(config.template),
        **({} if config.zeros is None else {"zeros": config.zeros}),
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: no labels or labels of one kind, a label that is no probability, unusable
        options, a model that cannot be loaded, memory or disk used up, a diverged loss.
    """
    layout = make_format(config.objective, principles=True, template=config.template)
    refuse_other_layout(inputs["model"], layout, context)
    ratings = {name: artifact for name, artifact in inputs.items() if name != "model"}
    examples, dropped, counts = rule_examples(ratings, layout, config, context.seed)

    def build(base: Model) -> Training:
        fitting, too_long = prepare_pairs(examples, layout, base, config, context)
        return Training(
            build_trainer(config, base, fitting, context, layout.outputs), too_long, counts
        )

    result = run_training(
        config,
        inputs,
        context,
        build,
        dropped=dropped,
        measure=_measure,
        add_files=partial(write_format, layout=layout),
    )
    warnings = [*result.warnings, *doubt_classes(result.metrics["held_out"])]
    return replace(result, warnings=warnings)


COLUMNS = (
    "id",
    "prompt",
    "response",
    "kind",
    "principles",
    "negated",
    "score",
    "scores",
    "finish_reason",
)
"""Of a Rating, those that an example is made of."""
STAGE = training_stage(
    version=1,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"*": Rating},
    least=1,
    gives=Model,
    reads={Rating: COLUMNS},
    identity=identity,
)


def rule_examples(
    inputs: Mapping[str, Artifact], layout: RewardFormat, config: Config, seed: int
) -> tuple[Examples, list[Dropped], dict[str, Any]]:
    """Two labelled texts an example, as TRL's reward trainer reads them, what was dropped, and how
    many texts there are of each principle.

    An answer's texts stand together, so that both have about one length; the last one of an odd
    number stands twice.

    Raises:
        UserError: nothing is left, a label is no probability, or all labels are of one kind.
    """
    principles = {principle.id: principle for principle in select(config.constitution).principles}
    examples: Examples = []
    texts: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    by_label: Counter[str] = Counter()
    sieve = Sieve()
    for artifact in inputs.values():
        for row in artifact.rows(Rating):
            labels = _labels(row, principles, config.objective)
            fault = "" if labels else "rated under no principle that is selected here"
            fault = _fault(row) or fault
            if not sieve.accepts(row, fault, row.prompt, row.response, sorted(labels)):
                continue
            learnt = _draw(labels, principles, row, config.draw, seed)
            if config.zeros is not None and not is_held_out(row.prompt, config.eval_fraction, seed):
                learnt = _thin_zeros(learnt, labels, row.id, config.zeros, seed)
            texts.update(learnt)
            by_label.update(f"{name} {labels[name]:g}" for name in learnt)
            broken.update(name for name in learnt if labels[name] < 0.5)
            learnt += learnt[-1:] * (len(learnt) % 2)
            for place in range(0, len(learnt), 2):
                first, second = learnt[place : place + 2]
                example = {
                    "id": f"{row.id}/{first}",
                    "prompt": row.prompt,
                    "soft_label": 1.0,
                    "chosen": _text(row, principles[first], layout),
                    "rejected": _text(row, principles[second], layout),
                    "chosen_unsafe": 1 - labels[first],
                    "rejected_unsafe": 1 - labels[second],
                }
                examples.append(example)
    if not examples:
        raise nothing_left(inputs, sieve.dropped, "rating", ADVICE)
    if config.objective in VALUES:
        if len({name.split()[1] for name in by_label}) < 2:
            raise UserError(
                "all labels are the same: there is nothing to tell apart",
                where=f"the inputs {', '.join(inputs)}",
                fix="give answers that are for a value, and others that are not",
            )
    elif broken.total() in (0, texts.total()):
        raise UserError(
            f"every answer {'breaks' if broken.total() else 'keeps'} every rule, say the labels: "
            "there is nothing to tell apart",
            where=f"the inputs {', '.join(inputs)}",
            fix="give answers of both kinds, such as those to requests that tempt to break a rule",
        )
    counts = {name: {"n": n, "broken": broken[name]} for name, n in sorted(texts.items())}
    return examples, sieve.dropped, {"texts": texts.total(), "principles": counts}


def _fault(row: Rating) -> str:
    """Why nothing can be learnt from a rating; an empty string where something can."""
    if not is_visible(row.response):
        return "empty completion"
    return row_fault(row)


def _labels(row: Rating, principles: Mapping[str, Principle], objective: str) -> dict[str, float]:
    """The label of each principle that is selected; none where the row has no score for each.

    Raises:
        UserError: a score is no probability, or of a value not in [-1, 1].
    """
    lowest = -1 if objective in VALUES else 0
    scores = row.scores
    if not scores and len(row.principles) == 1:
        scores = [row.score]
    for score in scores:
        if not lowest <= score <= 1:
            is_value = objective in VALUES
            label = "label from -1 to 1" if is_value else "probability that a principle is kept"
            raise UserError(
                f"the score {score} is no {label}",
                where=f"rating {row.id}",
                fix=VALUE_ADVICE if is_value else ADVICE,
            )
    if len(scores) != len(row.principles):
        return {}
    labels = zip(row.principles, scores, strict=True)
    return {name: score for name, score in labels if name in principles}


def _draw(
    labels: Mapping[str, float],
    principles: Mapping[str, Principle],
    row: Rating,
    count: int | None,
    seed: int,
) -> list[str]:
    """The principles that an answer is learnt under, one that its request is about first.

    Args:
        count: how many; None for all.
    """
    if count is None or count >= len(labels):
        return list(labels)
    available = [principles[name] for name in labels]
    drawn = assign_many(available, row.id, seed, count)
    names = [principle.id for principle in drawn]
    probed = by_subject(available).get(row.kind, [])
    if probed and not set(probed).intersection(names):
        names = [probed[0], *names[:-1]]
    return names


def _thin_zeros(
    names: list[str], labels: Mapping[str, float], row_id: str, share: float, seed: int
) -> list[str]:
    """The principles with a label other than 0, and `share` times as many of the others; one where
    there are none.
    """
    zeros = [name for name in names if not labels[name]]
    wanted = share * (len(names) - len(zeros)) if len(names) > len(zeros) else min(share, 1)
    count = int(wanted + derive_fraction(seed, "zeros", row_id))
    zeros.sort(key=lambda name: derive_fraction(seed, "zeros", row_id, name))
    return [name for name in names if labels[name] or name in zeros[:count]]


def _text(row: Rating, principle: Principle, layout: RewardFormat) -> list[Message]:
    """What the model reads of an answer and a principle, whose opposite it is if that was rated."""
    place = row.principles.index(principle.id)
    is_negated = bool(row.negated) and row.negated[place]
    words = layout.wording(principle, is_negated)
    return layout.messages(row.prompt, row.response, (words,))


def _measure(trainer: Any) -> dict[str, Any]:
    """How much was padding, and how the held-out texts fare.

    Returns:
        `padding_wasted`, and `held_out` as `check_held_out` with `broken` (texts that break their
        rule) and `auc` (None where all texts are of one kind).
    """
    from sklearn.metrics import roc_auc_score

    trainer.readings = []
    held_out = check_held_out(trainer)
    if held_out:
        scores = [score for score, _ in trainer.readings]
        kept = [not is_broken for _, is_broken in trainer.readings]
        held_out["broken"] = kept.count(False)
        held_out["auc"] = None
        if len(set(kept)) == 2:
            area = float(roc_auc_score(kept, scores))
            held_out["auc"] = round(area, 4)
    return {"padding_wasted": trainer.padding(), "held_out": held_out}
