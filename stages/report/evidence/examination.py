"""What the report shows of a judge's examination: the verdicts, their reasons and the readings.

In: the metrics of one `examine_judge` artifact. Out: plain data for the template.
"""

from stages.evaluation.instrument.planted import CONTRARY, PLANTED
from stages.evaluation.instrument.questions import CHOICE_FORM, YES_NO_FORM
from stages.evaluation.instrument.showing import LINES, describe_asked
from stages.evaluation.instrument.verdict import ABLE, DEBIASED, NOT_ABLE
from stages.report.views.marks import Metrics, View, place_estimate
from stages.statistics.formatting import format_number

TONES = {ABLE: "better", DEBIASED: "other", NOT_ABLE: "worse"}
FORMS = {CHOICE_FORM: "Choices, A or B", YES_NO_FORM: "Yes or No"}


def examination_view(step: str, metrics: Metrics) -> View:
    """The data of one examination for the template."""
    forms = []
    for form, heading in FORMS.items():
        reading = metrics[form]
        forms.append(
            {
                "heading": heading,
                "verdict": reading["verdict"],
                "tone": TONES.get(reading["verdict"], "same"),
                "reasons": reading["reasons"],
                "advice": reading["advice"],
            }
        )
    return {
        "step": step,
        "forms": forms,
        "questions": metrics["questions"],
        "asked": describe_asked(metrics),
        "confidence": metrics["confidence"],
        "lines": _lines(metrics),
    }


def _lines(metrics: Metrics) -> list[View]:
    """A line for each reading: its label and a cell for each form."""
    lines = []
    for name, label in LINES.items():
        estimates = [metrics[form].get(name) for form in FORMS]
        if any(estimates):
            is_share = name != "turning"
            lines.append({"label": label, "cells": [_cell(each, is_share) for each in estimates]})
    for kind in (*PLANTED, CONTRARY):
        estimates = [metrics[form]["planted"][kind] for form in FORMS]
        if any(estimates):
            label = f"sees the planted difference: {kind}"
            lines.append({"label": label, "cells": [_cell(each, True) for each in estimates]})
    return lines


def _cell(estimate: Metrics | None, is_share: bool) -> View | None:
    """A share with its strip, or a correlation in words."""
    if not estimate:
        return None
    if is_share:
        return place_estimate(estimate, 0) | {"is_share": True}
    bounds = f"{format_number(estimate['low'])} to {format_number(estimate['high'])}"
    return {
        "text": format_number(estimate["value"]),
        "title": f"{bounds}, {estimate['n']} prompts",
        "is_share": False,
    }
