"""Prompts that a pipeline both learns from and is evaluated on.

In: the steps of a plan and the rows of its sources. Out: for an evaluation, the sources that share
prompts with a source of a training before it, or are one. Prompts are compared by their
conversation, without system turns, case and white space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.pipeline.steps import Step
from stages.runtime.rows import Question

EVALUATION = "stages.evaluation."
"""Where the stages that measure are."""


@dataclass(frozen=True)
class Overlap:
    """What a source of an evaluation shares with a source of a training."""

    training: str
    """The step whose rows a model learns from."""
    evaluation: str
    """The step whose rows it is measured on."""
    shared: int
    """Different prompts that are in both."""
    total: int
    """Different prompts of the evaluation's source."""

    def __str__(self) -> str:
        if self.training == self.evaluation:
            return (
                f"all {self.total} prompts of {self.evaluation!r}, on which models are measured, "
                "are prompts from which they learn: results on them do not show what a model does "
                "with new requests"
            )
        return (
            f"{self.shared} of {self.total} prompts ({self.shared / self.total:.1%}) of "
            f"{self.evaluation!r}, on which models are measured, are also in {self.training!r}, "
            "from which models learn: results on them do not show what a model does with new "
            "requests"
        )


@dataclass
class Overlaps:
    """What the sources of a run share, found as soon as both of a pair are there.

    Args:
        pairs: the sources to compare, by the evaluation step that is to run.
    """

    pairs: Mapping[str, Sequence[tuple[str, str]]]
    _compared: dict[tuple[str, str], Overlap | None] = field(default_factory=dict)

    def compare(self, artifacts: Mapping[str, Artifact]) -> list[Overlap]:
        """Compare the sources that are there now, each pair once; return what is new.

        Args:
            artifacts: those that there are, by step.
        """
        found: list[Overlap] = []
        for pairs in self.pairs.values():
            ready = [pair for pair in pairs if pair not in self._compared]
            ready = [pair for pair in ready if set(pair) <= artifacts.keys()]
            names = {name for pair in ready for name in pair}
            rows: dict[str, list[Any]] = {name: artifacts[name].rows() for name in names}
            overlaps = find_overlaps(ready, rows)
            self._compared |= dict.fromkeys(ready)
            for overlap in overlaps:
                self._compared[overlap.training, overlap.evaluation] = overlap
            found += overlaps
        return found

    def add_to(self, result: Result, step: str) -> Result:
        """Return an evaluation's result with what its sources share with those of trainings.

        It is in the metrics and among the warnings, so that a report made later shows it too.
        """
        overlaps = []
        for pair in self.pairs.get(step, []):
            overlap = self._compared.get(pair)
            if overlap:
                overlaps.append(overlap)
        if not overlaps:
            return result
        metrics = result.metrics | {"overlap": [asdict(overlap) for overlap in overlaps]}
        warnings = [*result.warnings, *map(str, overlaps)]
        return replace(result, metrics=metrics, warnings=warnings)


WHOLE = (0.0, 1.0)
"""The `share` that leaves nothing out."""


def all_source_pairs(steps: Sequence[Step]) -> dict[str, list[tuple[str, str]]]:
    """Return `source_pairs` of every evaluation step that has any, by its name."""
    all_pairs = {}
    for step in steps:
        pairs = source_pairs(steps, step.name)
        if pairs:
            all_pairs[step.name] = pairs
    return all_pairs


def source_pairs(steps: Sequence[Step], evaluation: str) -> list[tuple[str, str]]:
    """Return the (training source, evaluation source) pairs above an evaluation step.

    A source is a step that reads rows from outside, or that keeps a `share` of such rows: disjoint
    shares of one file have no prompt in common. It is one of training if a step that trains
    stands between it and the evaluation, and one of evaluation if there is only a way without: an
    evaluation may also read the judgements that a training learnt from. A source stands on both
    sides, and is paired with itself, where the evaluation reads what a model answered to prompts
    that it had learnt from.
    """
    by_name = {step.name: step for step in steps}
    step = by_name[evaluation]
    if not step.location.startswith(EVALUATION):
        return []
    # The examination of a judge asks about requests too, and measures no model.
    read = [name for name in step.inputs.values() if by_name[name].contract.gives is not Question]
    learnt, measured = _sources_above(by_name, read)
    held_out = [name for name in measured if name not in learnt]
    pairs = [(one, other) for one in learnt for other in held_out]
    for name in step.inputs.values():
        for source in _answered_and_learnt(by_name, by_name[name]):
            if (source, source) not in pairs:
                pairs.append((source, source))
    return pairs


def _sources_above(by_name: Mapping[str, Step], starts: list[str]) -> tuple[list[str], list[str]]:
    """Return the sources above some steps: those with a training in between, those without."""
    learnt: dict[str, None] = {}
    measured: dict[str, None] = {}
    seen: set[tuple[str, bool]] = set()
    waiting = [(name, False) for name in starts]
    while waiting:
        name, trained = waiting.pop()
        if (name, trained) in seen:
            continue
        seen.add((name, trained))
        step = by_name[name]
        if _is_source(step) or _is_share(step, by_name):
            (learnt if trained else measured).setdefault(name)
            continue
        below = trained or step.contract.trains
        waiting += [(source, below) for source in step.inputs.values()]
    return list(learnt), list(measured)


def _is_source(step: Step) -> bool:
    return step.contract.read is not None


def _is_share(step: Step, by_name: Mapping[str, Step]) -> bool:
    """Return whether a step keeps a share of a source's rows, by a hash of their prompts."""
    if getattr(step.config, "share", WHOLE) == WHOLE:
        return False
    return all(_is_source(by_name[name]) for name in step.inputs.values())


def _answered_and_learnt(by_name: Mapping[str, Step], step: Step) -> list[str]:
    """Return the sources that a step's model answers and had learnt from before."""
    model = step.inputs.get("model")
    if model is None or step.contract.trains:
        return []
    learnt, _ = _sources_above(by_name, [model])
    return [name for name in step.inputs.values() if name in learnt]


def find_overlaps(
    pairs: Sequence[tuple[str, str]], rows: Mapping[str, Sequence[Any]]
) -> list[Overlap]:
    """Return the pairs of sources that share prompts.

    Args:
        rows: the rows of each source.
    """
    prompts = {}
    for name in {name for pair in pairs for name in pair}:
        prompts[name] = _prompts(rows[name])
    overlaps = []
    for training, evaluation in pairs:
        shared = len(prompts[training] & prompts[evaluation])
        total = len(prompts[evaluation])
        if shared:
            overlaps.append(Overlap(training, evaluation, shared, total))
    return overlaps


def _prompts(rows: Sequence[Any]) -> set[str]:
    """Return the conversations of rows, as far as they are compared."""
    prompts = set()
    for row in rows:
        messages = getattr(row, "messages", None) or getattr(row, "prompt", [])
        turns = []
        for message in messages:
            if message["role"] == "system":
                continue
            words = message["content"].lower().split()
            turns.append(message["role"])
            turns.append(" ".join(words))
        prompts.add("\n".join(turns))
    return prompts
