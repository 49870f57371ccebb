"""What the report shows of a `reward_accuracy` step: its models side by side, test by test and
principle by principle.

In: the metrics of one artifact. Out: plain data for the template, in the words of `effects.py`.
"""

from collections.abc import Mapping
from typing import Any

from stages.report.views.effects import change, percent, place

# test: (what is asked, whether a model that reads no principles gets one half by chance)
TESTS = {
    "all": ("the better side of a pair scores higher, under each principle", True),
    "flipped": (
        "the same on pairs that one principle ranks one way and another the other way",
        True,
    ),
    "both right": ("both verdicts on such a pair; without reading principles none", False),
    "negated": ("under a principle's opposite the other side scores higher", True),
    "turned": (
        "right both under a principle and under its opposite; without reading principles none",
        False,
    ),
    "held out": ("all and negated, on principles that were not trained with", True),
    "held out, flipped": ("flipped, on those alone", True),
    "lists": ("under several principles at once that agree on the pair", True),
    "lists, permuted": ("the same in another order", True),
    "one of a list, last": ("one principle that has a verdict, behind others that have none", True),
    "one of a list, first": ("the same with that principle first", True),
    "the pairs' labels": ("the side that a held-out pair's label prefers", True),
}


def view(step: str, metrics: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Everything the template shows. `texts` are the principles' texts by id."""
    models: dict[str, Any] = metrics["models"]
    names = list(models)
    return {
        "step": step,
        # the second is the baseline, and grey
        "models": [
            {"name": name, "index": [1, 0][i] if i < 2 else i} for i, name in enumerate(names)
        ],
        "confidence": f"{100 * metrics['confidence']:g} %",
        "by": metrics["truth"],
        "cells": f"{metrics['cells']:,}",
        "headline": _headline(metrics),
        "tests": [_test(test, metrics) for test in models[names[0]]["tests"]],
        "principles": [_principle(p, metrics, texts) for p in models[names[0]]["principles"]],
        "order": [
            found for name, facts in models.items() if (found := _order(name, facts))["told"]
        ],
    }


def _headline(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The test that a model which reads no principles fails, and the first model's lead over the
    second.
    """
    names = list(metrics["models"])
    found = metrics["models"][names[0]]["tests"].get("flipped")
    if not found:
        return None
    rival = names[1] if len(names) > 1 else ""
    lead = change(metrics["differences"][rival]["flipped"], 1) if rival else None
    interval = f"{percent(found['low'])} to {percent(found['high'])}"
    return {
        "model": names[0],
        "rival": rival,
        "lead": lead,
        "text": percent(found["value"]),
        "interval": interval,
    }


def _test(test: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    told, half = TESTS.get(test, ("", True))
    estimates = [facts["tests"].get(test) for facts in metrics["models"].values()]
    return {
        "name": test,
        "told": told,
        "half": half,
        "held_out": test.startswith("held out"),
        "n": max([found["n"] for found in estimates if found] or [0]),
        "cells": [found and place(found) for found in estimates],
        "changes": [change(found.get(test), 1) for found in metrics["differences"].values()],
    }


def _principle(
    principle: str, metrics: Mapping[str, Any], texts: Mapping[str, str]
) -> dict[str, Any]:
    cells = [facts["principles"].get(principle, {}) for facts in metrics["models"].values()]
    return {
        "id": principle,
        "text": texts.get(principle, ""),
        "held_out": principle in metrics["held_out"],
        "n": max([found["n"] for cell in cells for found in cell.values() if found] or [0]),
        "cells": [
            {kind: cell.get(kind) and place(cell[kind], 0) for kind in ("plain", "negated")}
            for cell in cells
        ],
    }


def _order(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """How much hangs on the order of several principles, and what could not be read."""
    parts = []
    if facts.get("order_shift") == 0:
        parts.append("the order of several principles changes nothing in its scores")
    elif facts.get("order_matters") is not None:
        parts.append(
            f"another order of the principles turns {percent(facts['order_matters'])} % of its verdicts on lists"
        )
        if facts.get("sd"):
            moved = facts["order_shift"] / facts["sd"]
            parts.append(
                f"and moves the difference in score by {moved:.2f} standard deviations of its scores"
            )
    told = " ".join(parts)
    if facts.get("unread"):
        told += f"{'; ' if told else ''}{facts['unread']:,} questions did not fit its context and count as ties"
    return {"name": name, "told": told}
