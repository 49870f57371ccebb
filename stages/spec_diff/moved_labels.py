"""Which labels an edit of a principle set moves, from the judge matrix. Arithmetic only, no calls.

In: a finished step `judged_pairs`, made under the old set, and the difference of two sets. Out:
labels that move, labels that stay, and labels that are open until a judge reads the new words, with
the calls that this takes. Labels are those of the step's own rule (`judged_pairs.decide`), without
its overrides and noise.

    untouched   the cells of the matrix serve: no call
    gone        its cells are left out: no call
    new weight  the same cells: no call
    reworded    its cells say little of the new words: open wherever they could turn the label.
                A text that became its opposite is expected to turn its cells' signs
    added       no cells: open wherever they could turn the label

What new words could turn is found by two bounds: all cells that are not known prefer the first
answer, or the second, as strongly as any cell of the matrix.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Any, cast

from stages.ablation.labels import label_outcomes
from stages.guards.errors import UserError
from stages.preferences import judged_pairs, salmon
from stages.preferences.label_rule import Rule, rule_of
from stages.preferences.pair_inputs import drop_cut_off_pairs, read_cells
from stages.principles.select import Selection
from stages.principles.statement import stated
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Drop
from stages.runtime.rows import Judgement
from stages.spec_diff.clauses import Clause, Difference
from stages.statistics.effect import Effect
from stages.statistics.equivalence import Finding
from stages.statistics.intervals import Estimate, by_prompt, share
from stages.statistics.shares import changes

ORDERS = 2
VERDICT_MARGIN = 0.05
"""The share of a clause's verdicts from which on a reversal counts as one that matters."""
Labels = dict[str, int]
"""By row of `judged_pairs`: 1 for the first answer, -1 for the second, 0 where it abstains."""


@dataclass(frozen=True)
class Moves:
    """What happens to the labels, as counts of rows; the first three add up to all of them."""

    stay: int
    move: int
    """For certain, whatever a judge says of new words."""
    open: int
    """Until a judge reads the new words."""
    expected: int
    """Rows that move if reworded clauses are judged as before, turned ones the other way, and added
    ones say nothing.
    """
    calls: int
    """That the judge would be sent, at most: what it was asked before is in the store."""


@dataclass(frozen=True)
class Forecast:
    """The labels of a run under an edited set."""

    together: Moves
    clauses: dict[str, Moves]
    """Of each changed clause, by its id: if only it changed."""
    expected: Estimate | None
    """The share of labels that is expected to move, over prompts."""
    notes: list[str]


@dataclass(frozen=True)
class Measured:
    """What the edit did to the labels of two runs."""

    changed: Estimate | None
    """The share of labels that differ, over prompts."""
    clauses: dict[str, Effect]
    """By reworded clause, the share of reversed verdicts where both wordings decide."""
    findings: dict[str, Finding]
    decided: dict[str, tuple[int, int]]
    """By reworded clause, on how many pairs both wordings decide, and how many both judged."""


class Matrix:
    """The cells of a step, and its rule."""

    def __init__(self, step: Artifact):
        judged = step.input_artifacts("judgements")
        if not judged:
            raise UserError(
                "the judge matrix of this step is gone",
                where=f"step {step.step!r}",
                fix="; ".join(step.explain_missing()) or "run it again",
            )
        self.judged = judged[0]
        self.rule = rule_of(step)
        self.config = _config_of(step)
        where = f"step {self.judged.step!r}"
        cells = read_cells(
            self.judged,
            set(self.rule.principles),
            where,
            self.rule.negated,
        )
        self.cells, _ = drop_cut_off_pairs(cells, self.config.cut_off)
        every = [cell for pair_cells in self.cells.values() for cell in pair_cells]
        self.strongest = max(max(abs(cell.margin_ab), abs(cell.margin_ba)) for cell in every)
        self.prompts = {cell.pair_id: cell.prompt_id for cell in every}

    def row_ids(self, pair_id: str) -> list[str]:
        """The rows that `judged_pairs` makes of a pair."""
        if not self.rule.by_subsets:
            return [pair_id]
        return [f"{pair_id}#{number}" for number in range(1, self.config.passes + 1)]

    def labels(self, clauses: Sequence[Clause], push: int = 0) -> Labels:
        """Return the labels under the new side of these clauses.

        Args:
            push: 1 or -1: cells that a judge has not read prefer the first or the second answer.
        """
        present = [clause for clause in clauses if clause.new]
        principles = {clause.id: clause.new for clause in present if clause.new}
        rule = replace(
            self.rule,
            principles=principles,
            negated=frozenset(),
        )
        rows = {
            pair: self._row(
                cells,
                present,
                push,
            )
            for pair, cells in self.cells.items()
        }
        scale = self._scale(rows, rule)
        labels = {}
        for pair_id, cells in rows.items():
            for row_id in self.row_ids(pair_id):
                labels[row_id] = _label(
                    row_id,
                    cells,
                    rule,
                    scale,
                    self.config,
                )
        return labels

    def count(self, clause: Clause) -> int:
        """Return the number of its cells."""
        name = clause.old.id if clause.old else ""
        return sum(cell.principle == name for cells in self.cells.values() for cell in cells)

    def _row(
        self, cells: Sequence[Judgement], clauses: Sequence[Clause], push: int
    ) -> list[Judgement]:
        by_principle = {cell.principle: cell for cell in cells}
        row = []
        for clause in clauses:
            cell = by_principle.get(clause.old.id) if clause.old else None
            if clause.is_judged_again and push and cells:
                margin = push * self.strongest
                cell = replace(
                    cell or cells[0],
                    margin_ab=margin,
                    margin_ba=margin,
                )
            elif clause.is_turned and cell:
                cell = replace(
                    cell,
                    margin_ab=-cell.margin_ab,
                    margin_ba=-cell.margin_ba,
                )
            if cell:
                row.append(replace(cell, principle=clause.id))
        return row

    def _scale(self, rows: Mapping[str, list[Judgement]], rule: Rule) -> dict[str, float]:
        if not rule.by_subsets:
            return {}
        cells = [cell for row in rows.values() for cell in row]
        scale = salmon.scales(cells, self.config.normalise)
        usual = median(scale.values()) if scale else 1.0
        return {name: scale.get(name, usual) for name in rule.principles}


def forecast(step: Artifact, difference: Difference) -> Forecast:
    """Return which labels of a step move under the new set.

    Raises:
        UserError: the matrix is gone, or the step knows none of the old set's principles.
    """
    matrix = Matrix(step)
    named = [clause for clause in difference.clauses if not clause.old or _is_of(clause, matrix)]
    if not any(clause.old for clause in named):
        raise UserError(
            "this run labelled under none of the old set's principles",
            where=f"step {step.step!r}",
            fix="name the set that the run used as the first one",
        )
    before = matrix.labels([Clause(clause.old, clause.old) for clause in named if clause.old])
    together, after = _moves(
        matrix,
        before,
        named,
    )
    clauses = {}
    for clause in named:
        if clause.kinds:
            alone = [
                one for one in difference.only(clause).clauses if not one.old or _is_of(one, matrix)
            ]
            clauses[clause.id] = _moves(
                matrix,
                before,
                alone,
            )[0]
    moved = []
    for pair_id in matrix.cells:
        for row_id in matrix.row_ids(pair_id):
            prompt = matrix.prompts.get(pair_id, pair_id)
            moved.append((prompt, float(before[row_id] != after[row_id])))
    return Forecast(
        together,
        clauses,
        share(by_prompt(moved)),
        _notes(matrix, difference),
    )


def measure(
    old_step: Artifact, new_step: Artifact, difference: Difference, margin: float = VERDICT_MARGIN
) -> Measured:
    """Return what two runs, one under each set, labelled differently.

    A wording that keeps the meaning moves a judge between a verdict and none on many pairs, and
    reverses few: so only reversals count (docs/results.md, "Planted edits").

    Args:
        margin: the share of a clause's verdicts from which on their reversal matters.
    """
    changed = label_outcomes(new_step, old_step)["changed"]
    old, new = Matrix(old_step), Matrix(new_step)
    variants = {}
    decided = {}
    for clause in difference.clauses:
        if clause.old and clause.new and clause.is_judged_again:
            values, judged = _reversals(
                old,
                new,
                clause,
            )
            if judged:
                decided[clause.id] = (len(values), judged)
            if values:
                variants[clause.id] = {"0": by_prompt(values)}
    effects, findings = changes(variants, margin)
    return Measured(
        share(changed),
        effects,
        findings,
        decided,
    )


def _reversals(old: Matrix, new: Matrix, clause: Clause) -> tuple[list[tuple[str, float]], int]:
    """Whether the clause's own verdict is reversed, by prompt and pair, where both wordings decide;
    and how many pairs both judged.
    """
    assert clause.old and clause.new
    values = []
    judged = 0
    for pair_id, cells in old.cells.items():
        before = old.rule.margins(cells).get(clause.old.id)
        after = new.rule.margins(new.cells.get(pair_id, [])).get(clause.new.id)
        if before is None or after is None:
            continue
        judged += 1
        if before and after:
            values.append((old.prompts[pair_id], float(_sign(before) != _sign(after))))
    return values, judged


def _moves(matrix: Matrix, before: Labels, clauses: Sequence[Clause]) -> tuple[Moves, Labels]:
    """Return what happens to the labels, and those that are expected."""
    expected = matrix.labels(clauses)
    possible = [expected]
    if any(clause.is_judged_again for clause in clauses):
        possible += [matrix.labels(clauses, push) for push in (1, -1)]
    stay = 0
    move = 0
    for row_id, label in before.items():
        labels = {each[row_id] for each in possible}
        stay += labels == {label}
        move += label not in labels and len(labels) == 1
    changed = sum(label != expected[row_id] for row_id, label in before.items())
    calls = sum(
        _calls(
            matrix,
            clause,
            clauses,
        )
        for clause in clauses
    )
    return Moves(
        stay,
        move,
        len(before) - stay - move,
        changed,
        calls,
    ), expected


def _calls(matrix: Matrix, clause: Clause, clauses: Sequence[Clause]) -> int:
    """The calls that a run under the new set sends because of one clause, at most."""
    options = matrix.judged.config
    per_cell = ORDERS * (2 if options.get("reasoning") else 1)
    limit = options.get("per_pair")
    size = sum(each.new is not None for each in clauses)
    if clause.old and clause.new:
        return per_cell * matrix.count(clause) if clause.is_judged_again else 0
    if clause.new:
        drawn = 1.0 if limit is None else min(1.0, limit / size)
        return round(per_cell * len(matrix.cells) * drawn)
    # where each pair is judged under some principles, others take the places of one that is gone
    return per_cell * matrix.count(clause) if limit is not None and size >= limit else 0


def _label(
    row_id: str,
    cells: list[Judgement],
    rule: Rule,
    scale: dict[str, float],
    config: judged_pairs.Config,
) -> int:
    try:
        return _sign(
            judged_pairs.decide(
                row_id,
                cells,
                rule,
                scale,
                config,
            ).margin
        )
    except Drop:
        return 0


def _sign(margin: float) -> int:
    return (margin > 0) - (margin < 0)


def _is_of(clause: Clause, matrix: Matrix) -> bool:
    return clause.old is not None and clause.old.id in matrix.rule.principles


def _config_of(step: Artifact) -> judged_pairs.Config:
    """The options of a finished step; which principles it used is in its rule."""
    names = {option.name for option in fields(judged_pairs.Config)} - {"constitution"}
    options = {name: value for name, value in step.config.items() if name in names}
    return judged_pairs.Config(constitution=Selection(name="-"), **cast(dict[str, Any], options))


def _notes(matrix: Matrix, difference: Difference) -> list[str]:
    """What of the run does not fit the old set."""
    notes = []
    texts = matrix.judged.config.get("constitution") or {}
    names = {principle.id for principle in difference.old.principles}
    strange = sorted(set(matrix.rule.principles) - names)
    if strange:
        notes.append(f"the run used principles that the old set lacks: {', '.join(strange[:5])}")
    for principle in difference.old.principles:
        text = texts.get(principle.id, {}).get("text")
        if text is not None and text != stated(principle).text:
            notes.append(f"the run judged {principle.id} in other words than those of the old set")
        rated = matrix.rule.principles.get(principle.id)
        if rated and rated.weight != principle.weight:
            notes.append(
                f"the run gave {principle.id} the weight {rated.weight:g}; "
                f"in the old set it is {principle.weight:g}"
            )
    if matrix.judged.config.get("per_pair") is not None:
        notes.append(
            "each pair was judged under some of the principles: another set draws others, "
            "so calls and labels are estimates"
        )
    return notes
