"""The reward of a rollout: named terms, as the pipeline file writes them.

    rewards:
      principles: {term: reward_model, model: rm, constitution: "${constitution}", draw: 3,
          always: [no-flattery]}
      short:      {term: length, weight: -1.0, per: 100}
      ended:      {term: unfinished, weight: 6.0}

In: the mapping. Out: checked terms by name, what identifies them, and functions as TRL's online
trainers call them. Each term gives a number for each completion, is multiplied by its `weight`,
added to the others, and logged under its name. Where one term cannot score a completion, the
completion has no reward, whatever the others say (`callbacks.py`); a term of weight 0 is only
watched, or read by others (`hacking/mixing.py`). The costs of Safe RLHF are terms too.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from stages.guards.errors import Faults, UserError, did_you_mean
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context
from stages.runtime.generation import Marks, split_thoughts
from stages.runtime.typed_config import identity_of, parse_config
from stages.training.online.hacking.mixing import OnlyIf, SharedScores, check_others
from stages.training.online.hacking.tripwires import tripwires
from stages.training.online.list_term import ListTerm
from stages.training.online.model_terms import JudgeTerm, ModelTerm, RewardModelTerm
from stages.training.online.terms import (
    ADDED_LATER,
    Completion,
    EnsembleTerm,
    LengthTerm,
    PythonTerm,
    ScoreFunction,
    Term,
    TermUse,
    UnfinishedTerm,
)
from stages.training.online.value_term import ValuesTerm

TERMS: dict[str, type[Term]] = {
    "reward_model": RewardModelTerm,
    "length": LengthTerm,
    "unfinished": UnfinishedTerm,
    "judge": JudgeTerm,
    "ranking": ListTerm,
    "python": PythonTerm,
    "values": ValuesTerm,
    "ensemble": EnsembleTerm,
}
"""By `term:` in the pipeline file: the class that holds a term's options and scores with them."""


def read_terms(
    options: Mapping[str, Any],
    stage: str,
    option: str = "rewards",
) -> dict[str, Term]:
    """Read and check the terms under `rewards` or `costs`.

    Raises:
        UserError: there are no rewards, one is not a mapping, its kind or an option is unknown, a
        principle does not exist, or an option has no effect beside the others.
    """
    terms: dict[str, Term] = {}
    faults = Faults()
    for name, values in options.items():
        if values is None:  # a variant may remove what it inherits
            continue
        with faults.gather():
            terms[name] = _read_term(values, f"stage {stage!r}, {option}.{name}")
    faults.raise_any()
    check_others(terms, f"stage {stage!r}, {option}")
    if option == "rewards" and not terms:
        raise UserError(
            f"`{option}` names no term",
            where=f"stage {stage!r}",
            fix=f"give at least one: {option}: {{rm: {{term: reward_model, model: <an input>}}}}",
        )
    if option == "rewards" and not any(term.weight for term in terms.values()):
        raise UserError(
            "every term of the reward has the weight 0, so nothing can be learnt",
            where=f"stage {stage!r}, {option}",
            fix="give a term another weight",
        )
    return terms


def _read_term(
    values: Any,
    where: str,
) -> Term:
    values = dict(values) if isinstance(values, Mapping) else {}
    kind = values.pop("term", None)
    if kind not in TERMS:
        raise UserError(
            f"there is no reward term {kind!r}{did_you_mean(str(kind), list(TERMS))}",
            where=where,
            fix=f"write {{term: <one of {', '.join(TERMS)}>, ...}}",
        )
    term: Term = parse_config(TERMS[kind], values, where)
    term.check(where)
    return term


def terms_identity(
    terms: Mapping[str, Term],
) -> dict[str, Any]:
    """What identifies the terms: options, principle texts in their order, template and sources."""
    kinds = {term_class: kind for kind, term_class in TERMS.items()}
    identity = {}
    for name, term in terms.items():
        identity[name] = {"term": kinds[type(term)]} | identity_of(term) | term.identity()
        for option in ADDED_LATER:
            if value := getattr(term, option, None):
                identity[name][option] = asdict(value) if isinstance(value, OnlyIf) else value
    return identity


def models_of(
    terms: Mapping[str, Term],
) -> dict[str, str]:
    """The input that each term's model is, by term."""
    return {name: term.model for name, term in terms.items() if isinstance(term, ModelTerm)}


def inputs_of(terms: Mapping[str, Term]) -> list[str]:
    """The inputs that the terms read: their models, and rows."""
    rows = [name for term in terms.values() for name in term.data_inputs()]
    return [*models_of(terms).values(), *rows]


@dataclass(frozen=True)
class RewardFunction:
    """A term as TRL's trainers call it."""

    name: str
    score: ScoreFunction
    where: str
    """For messages."""
    log_tripwires: bool
    marks: Marks = ()
    """Of thoughts, which no term reads."""
    prefilled: str = ""
    """The opening of thoughts that the prompt ends with."""
    signs: dict[str, float] = field(default_factory=dict)
    """What the term adds to what is logged of the batch that it last scored."""

    @property
    def __name__(self) -> str:
        """By which TRL logs it."""
        return self.name

    def __call__(
        self,
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[Any],
        prompt_id: list[str],
        kind: list[str],
        trainer_state: Any,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """One reward for each completion, or None where the term cannot score it.

        Raises:
            UserError: the term gives something that is not a finite number, or not one for each
                completion.
        """
        batch = []
        for row, tokens in enumerate(completion_ids):
            text = completions[row]
            words = text if isinstance(text, str) else text[0]["content"]
            answer = split_thoughts(self.prefilled + words, self.marks)[1]
            completion = Completion(
                prompt=list(prompts[row]),
                text=answer,
                tokens=list(tokens),
                prompt_id=prompt_id[row],
                kind=kind[row],
                step=int(trainer_state.global_step),
            )
            batch.append(completion)
        if self.log_tripwires and log_metric is not None:
            texts = [completion.text for completion in batch]
            lengths = [len(completion.tokens) for completion in batch]
            for sign, value in tripwires(texts, lengths).items():
                log_metric(f"tripwire/{sign}", value)
        scores = self.score(batch)
        if log_metric is not None:
            for curve, value in self.signs.items():
                log_metric(curve, value)
        if len(scores) != len(batch):
            raise UserError(
                f"the reward term {self.name!r} gave {len(scores)} rewards for {len(batch)} "
                "completions",
                where=self.where,
                fix="return one number for each completion, or None",
            )
        try:
            rewards = [None if score is None else float(score) for score in scores]
        except (TypeError, ValueError):
            raise UserError(
                f"the reward term {self.name!r} gave something that is not a number: "
                f"{scores!r:.80}",
                where=self.where,
                fix="return a number for each completion, or None",
            ) from None
        for completion, reward in zip(batch, rewards, strict=True):
            if reward is not None and not math.isfinite(reward):
                raise UserError(
                    f"the reward term {self.name!r} gave {reward} for a completion of prompt "
                    f"{completion.prompt_id}",
                    where=self.where,
                    fix="look at what the term scores there; return None where it cannot score",
                )
        return rewards


def reward_functions(
    rewards: Mapping[str, Term],
    costs: Mapping[str, Term],
    inputs: Mapping[str, Artifact],
    context: Context,
    end_tokens: set[int],
    prefilled: str = "",
) -> list[RewardFunction]:
    """The terms as functions that TRL's trainers call, in their order; the first logs tripwires.

    Args:
        end_tokens: ids of the tokens that end a turn.
        prefilled: the opening of thoughts that the chat template writes before each answer.

    Raises:
        UserError: a term names an input that the step does not have, or a model that cannot be used
        so.
    """
    functions: list[RewardFunction] = []
    for option, terms in (("rewards", rewards), ("costs", costs)):
        shared = SharedScores(terms)
        for name, term in terms.items():
            where = f"step {context.step!r}, {option}.{name}"
            use = TermUse(
                inputs, context, end_tokens, option == "costs", where, score_other=shared.score
            )
            shared.add(name, term.score_function(use), use.signs)
            function = RewardFunction(
                name,
                partial(shared.score, name),
                where,
                log_tripwires=not functions,
                marks=context.engines.thought_marks,
                prefilled=prefilled,
                signs=use.signs,
            )
            functions.append(function)
    return functions
