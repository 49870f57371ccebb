"""How a judge's examination is shown: its table, its warnings, and the message that stops a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.evaluation.instrument.planted import CONTRARY, PLANTED
from stages.evaluation.instrument.questions import CHOICE_FORM, YES_NO_FORM
from stages.evaluation.instrument.verdict import NAMES, NOT_ABLE, UNDECIDED
from stages.guards.errors import UserError
from stages.runtime.manifest import Table
from stages.statistics.formatting import (
    NO_VALUE,
    format_confidence,
    format_estimate,
    format_percent,
)

Metrics = Mapping[str, Any]
LINES = {
    "turning": "turns with the principle (1 yes, -1 ignores)",
    "people": "agrees with people",
    "first": "the first place wins",
    "flips": "flips with the order",
    "flips_clear": "flips, clear half",
    "yes": "says Yes (half is fair)",
    "turned": "Yes to a principle or its opposite, not both",
    "paraphrase": "the same in other words",
    "repeat": "the same when asked again",
}
"""By reading, its line in the table."""
STOPPING = {"usable": (NOT_ABLE,), "decided": (NOT_ABLE, UNDECIDED), "anything": ()}
"""By `require`, the verdicts that stop the run."""


def examination_table(step: str, metrics: Metrics) -> Table:
    """Return a line for each reading, and the verdicts first."""
    forms = [metrics[form] for form in (CHOICE_FORM, YES_NO_FORM)]
    verdicts = [form["verdict"] for form in forms]
    rows = [["verdict", *verdicts, ""], _mass_row(forms)]
    for name, label in LINES.items():
        estimates = [form.get(name) for form in forms]
        if name == "turning":
            rows += _row(label, estimates, factor=1, places=2)
        else:
            rows += _row(label, estimates)
    for kind in (*PLANTED, CONTRARY):
        estimates = [form["planted"][kind] for form in forms]
        rows += _row(f"sees the planted difference: {kind}", estimates)
    confidence = format_confidence(metrics["confidence"])
    title = f"{step}: what the judge can tell; shares in per cent, {confidence} intervals"
    title = "; ".join(filter(None, [title, describe_asked(metrics)]))
    return Table(title, ["", "A or B", "Yes or No", "n"], rows)


def describe_asked(metrics: Metrics) -> str:
    """Return which principles the examination left out; "" where it asked about all."""
    if not metrics.get("not_asked"):
        return ""
    asked = metrics["asked"]
    return (
        f"asked about {len(asked)} of {len(asked) + metrics['not_asked']} principles "
        f"({', '.join(asked)}): the others have no `opposite`, and none is made up"
    )


def _row(
    label: str, estimates: Sequence[Metrics | None], factor: float = 100, places: int = 0
) -> list[list[str]]:
    """Return a line, or none where nothing was measured."""
    sizes = [estimate["n"] for estimate in estimates if estimate]
    if not sizes:
        return []
    cells = [format_estimate(estimate, factor, places) for estimate in estimates]
    return [[label, *cells, str(max(sizes))]]


def _mass_row(forms: Sequence[Metrics]) -> list[str]:
    cells = []
    sizes = [0]
    for form in forms:
        mass = form["mass"]
        cells.append(format_percent(mass["median"]) if mass else NO_VALUE)
        sizes.append(mass["n"] if mass else 0)
    return ["probability on the options, median", *cells, str(max(sizes))]


def warnings_of(metrics: Metrics) -> list[str]:
    """Return a sentence for each form that no correction helps.

    What is usable when debiased is corrected by the steps that judge.
    """
    warnings = []
    for form, name in NAMES.items():
        verdict = metrics[form]["verdict"]
        if verdict in (NOT_ABLE, UNDECIDED):
            advice = "; ".join(metrics[form]["advice"])
            reasons = "; ".join(metrics[form]["reasons"])
            warnings.append(f"the judge's {name}: {verdict}: {reasons}. To do: {advice}")
    return warnings


def refuse_judge(
    metrics: Metrics, needs: Sequence[str], require: str, step: str, unread: Sequence[str] = ()
) -> None:
    """Stop the run at a judge that may not go on.

    Args:
        unread: what it cannot read of the principles, as a warning says it.

    Raises:
        UserError: with the reasons and what to do.
    """
    faults = []
    advice: list[str] = []
    for form in needs:
        if metrics[form]["verdict"] in STOPPING[require]:
            reasons = "; ".join(metrics[form]["reasons"])
            faults.append(f"{NAMES[form]}: {metrics[form]['verdict']}: {reasons}")
            advice += metrics[form]["advice"]
    if faults:
        fix = "; ".join(dict.fromkeys(advice))
        raise UserError(
            ". ".join(["the judge cannot tell what it is to judge", *faults, *unread]),
            where=f"step {step!r}",
            fix=f"{fix} (`judge=...`); or go on all the same: "
            f"pipeline.steps.{step}.require=anything",
        )
