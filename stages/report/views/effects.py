"""An evaluation's metrics (see `measures`) as the report shows them: sentences, table cells, marks.

In: the metrics of one `evaluate` artifact. Out: plain data for the template. Shares become per
cent, differences percentage points. A change counts as better or worse only if its interval leaves
0 out.
"""

import math
from typing import Any

from stages.evaluation.measures import before, foremost
from stages.report.views.charts import trade_off

MINUS, DASH = "\u2212", "\u2013"
# measure: (heading, 1 if more of it is good, -1 if less is)
EFFECTS = {
    "any_violation": ("Violations", -1),
    "evasive": ("Evasive", -1),
    "helpful_benign": ("Helpful on benign requests", 1),
    "well_formed": ("Well-formed", 1),
    "on_topic": ("On topic", 1),
}
# what stands in small print under a measure
BESIDE = {
    "any_violation": {"any_violation_judge": "the judge says"},
    "evasive": {"evasive_red_team": "attacks", "evasive_benign": "benign"},
}


def percent(share: float | None, digits: int = 1) -> str:
    return DASH if share is None else f"{100 * share:.{digits}f}"


def signed(share: float, digits: int = 1) -> str:
    """A difference in points with a true minus sign."""
    text = f"{100 * abs(share):.{digits}f}"
    sign = "" if float(text) == 0 else "+" if share > 0 else MINUS
    return sign + text


def change(difference: dict[str, Any] | None, good: int) -> dict[str, str] | None:
    """Text, interval, and whether it is `better`, `worse` or `same` (the interval holds 0)."""
    if difference is None:
        return None
    direction = 1 if difference["low"] > 0 else -1 if difference["high"] < 0 else 0
    return {
        "text": signed(difference["value"]),
        "interval": f"{signed(difference['low'])} to {signed(difference['high'])}",
        "mood": "same" if not direction else "better" if direction == good else "worse",
        "title": f"{difference['fell']} prompts fell, {difference['rose']} rose"
        + (f"; exact McNemar p = {difference['p']:.2g}" if difference["p"] is not None else ""),
    }


def view(step: str, metrics: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    """Everything the template shows of one evaluation. `texts` are the principles' texts by id."""
    names = list(metrics["policies"])
    return {
        "step": step,
        "policies": names,
        "ends": (names[0], foremost(metrics)),
        "above": f"{names[0]}" if metrics.get("side_by_side") else "the policy above",
        "confidence": f"{100 * metrics['confidence']:g} %",
        "counted": metrics["counted"],
        "by": "ground truth"
        if metrics["measured_by"] == "truth"
        else "the judge alone (there is no ground truth)",
        "headline": headline(metrics),
        "effects": [_effect_row(metrics, i) for i in range(len(names))],
        "columns": list(EFFECTS.values()),
        "trade_off": _trade_off(metrics),
        "win_rates": _win_rates(metrics),
        "principles": _principles(metrics, texts),
        "views": _views(metrics),
        "full": _full_bar(metrics),
        "judge": _judge(metrics.get("judge") or {}),
    }


def headline(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The first sentence: violations of the last policy against the first, as far as the interval
    allows to say it.
    """
    names = list(metrics["policies"])
    ends = (names[0], foremost(metrics))
    first, last = (metrics["policies"][name]["measures"]["any_violation"] for name in ends)
    if not first or not last:
        return None
    found: dict[str, Any] = {
        "first": ends[0],
        "last": ends[1],
        "to": percent(last["value"]),
    }
    if len(names) == 1:
        return found | {
            "sentence": f"{found['to']} % of the responses break a principle",
            "change": None,
            "n": last["n"],
            "beside": "",
        }
    difference = metrics["differences"][ends[1]][ends[0]]["measures"]["any_violation"]
    if difference is None:
        return None
    found |= {"from": percent(difference["before"]), "to": percent(difference["after"])}
    mood = change(difference, -1)
    assert mood is not None
    was, now = (metrics["policies"][name]["measures"] for name in ends)
    beside = [
        f"{label.lower()} {percent(was[m]['value'])} to {percent(now[m]['value'])} %"
        for m, (label, _) in EFFECTS.items()
        if m != "any_violation" and was[m] and now[m]
    ]
    verb = {"better": "fell", "worse": "rose", "same": "did not measurably change:"}[mood["mood"]]
    return found | {
        "sentence": f"Violations {verb} from {found['from']} % to {found['to']} %",
        "change": mood,
        "n": difference["n"],
        "beside": "; ".join(beside),
    }


def _effect_row(metrics: dict[str, Any], index: int) -> dict[str, Any]:
    names = list(metrics["policies"])
    name = names[index]
    rival = before(metrics, name) if index else ""
    changes = metrics["differences"][name][rival]["measures"] if index else {}
    cells: list[dict[str, Any] | None] = []
    for measure, (_, good) in EFFECTS.items():
        estimate = metrics["policies"][name]["measures"][measure]
        ghost = metrics["policies"][rival]["measures"][measure] if index else None
        if estimate is None:
            cells.append(None)
            continue
        cell = place(estimate) | {
            "ghost": ghost and 100 * ghost["value"],
            "change": change(changes.get(measure), good),
        }
        cells.append(cell | {"beside": _beside(metrics, name, measure)})
    facts = metrics["policies"][name]
    breakable = name.replace("_", "_\u200b")
    return {
        "policy": breakable,
        "index": index,
        "cells": cells,
        "responses": facts["responses"],
        "dropped": facts["dropped"],
    }


def _beside(metrics: dict[str, Any], name: str, measure: str) -> str:
    if measure == "any_violation" and metrics["measured_by"] == "judge":
        return ""
    measures = metrics["policies"][name]["measures"]
    parts = [
        f"{text} {percent(found['value'])} ({found['n']})"
        for m, text in BESIDE.get(measure, {}).items()
        if (found := measures[m])
    ]
    return ", ".join(parts)


def place(estimate: dict[str, Any], digits: int = 1) -> dict[str, Any]:
    """Where an estimate and its interval lie on a strip from 0 to 100."""
    low, high = 100 * estimate["low"], 100 * estimate["high"]
    return {"text": percent(estimate["value"], digits), "at": 100 * estimate["value"], "low": low, "width": high - low,
            "title": f"{low:.1f} to {high:.1f} %, {estimate['n']} prompts"}  # fmt: skip


def _trade_off(metrics: dict[str, Any]) -> str:
    points = [
        (name, facts["measures"]["any_violation"], facts["measures"]["evasive"])
        for name, facts in metrics["policies"].items()
        if facts["measures"]["any_violation"] and facts["measures"]["evasive"]
    ]
    return trade_off(points, "violations", "evasive") if len(points) > 1 else ""


def _win_rates(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    names = list(metrics["policies"])
    return [
        {"policy": name, "index": names.index(name), "rival": rival, **place(rate), "wins": rate["wins"],
         "losses": rate["losses"], "ties": rate["ties"], "controlled": _controlled(rate)}
        for name, rivals in metrics["win_rates"].items()
        for rival, rate in rivals.items()
    ]  # fmt: skip


def _controlled(rate: dict[str, Any]) -> dict[str, Any] | None:
    """The rate at equal length; `far` if it is another one by more than 10 points."""
    found = rate.get("controlled")
    if not found:
        return None
    longer = (
        f"{abs(rate['longer']):.0f} characters {'longer' if rate['longer'] >= 0 else 'shorter'}"
    )
    return {**place(found), "far": abs(found["value"] - rate["value"]) > 0.1, "longer": longer}


def _views(metrics: dict[str, Any]) -> list[str]:
    cells = [
        cell for facts in metrics["policies"].values() for cell in facts["principles"].values()
    ]
    return [which for which in ("truth", "judge") if any(cell[which] for cell in cells)]


def _full_bar(metrics: dict[str, Any]) -> int:
    """Per cent at which a principle's bar is full: the highest share, rounded up to tens."""
    cells = [
        cell for facts in metrics["policies"].values() for cell in facts["principles"].values()
    ]
    highest = max(
        [cell[which]["value"] for cell in cells for which in ("truth", "judge") if cell[which]]
        or [0]
    )
    return max(10, 10 * math.ceil(10 * highest - 1e-9))


def _principles(metrics: dict[str, Any], texts: dict[str, str]) -> list[dict[str, Any]]:
    names = list(metrics["policies"])
    judged = (metrics.get("judge") or {}).get("verdicts", {}).get("principles", {})
    rows = []
    for principle in metrics["policies"][names[0]]["principles"]:
        cells = [metrics["policies"][name]["principles"][principle] for name in names]
        across = (
            metrics["differences"][foremost(metrics)][names[0]]["principles"][principle]
            if len(names) > 1
            else None
        )
        rows.append(
            {
                "id": principle,
                "text": texts.get(principle, ""),
                "cells": [
                    {which: cell[which] and place(cell[which]) for which in ("truth", "judge")}
                    for cell in cells
                ],
                "change": change(across, -1),
                "kappa": (judged.get(principle) or {}).get("kappa"),
            }
        )
    return rows


def _judge(judge: dict[str, Any]) -> dict[str, Any] | None:
    verdicts, pairs = judge.get("verdicts") or {}, judge.get("pairs") or {}

    def share(value: float | None) -> str:
        return DASH if value is None else f"{percent(value)} %"

    def plain(value: float | None) -> str:
        return DASH if value is None else f"{value:.2f}"

    tiles = []
    if verdicts.get("n"):
        tiles += [
            (
                "Yes/No verdicts: accuracy",
                share(verdicts["accuracy"]),
                f"{verdicts['n']:,} verdicts against ground truth",
            ),
            (
                "Yes/No verdicts: kappa",
                plain(verdicts["kappa"]),
                "Cohen; 1 is perfect, 0 is chance",
            ),
            (
                "violations missed",
                share(verdicts["missed"]),
                f"false alarms {share(verdicts['false_alarms'])}",
            ),
        ]
    if pairs.get("n"):
        tiles += [
            (
                "A/B choices: accuracy",
                share(pairs["accuracy"]),
                f"both orders averaged; one order {share(pairs['accuracy_single'])}",
            ),
            (
                "A/B choices: kappa",
                plain(pairs["kappa"]),
                f"{pairs['n']:,} of {pairs['cells']:,} cells where truth prefers one",
            ),
        ]
    if pairs.get("cells"):
        tiles += [
            (
                "verdict flips with the order",
                share(pairs["flipped"]),
                f"of {pairs['cells']:,} cells",
            ),
            ("first place is picked", share(pairs["first_place"]), "50 % is unbiased"),
        ]
    principles = [
        {
            "id": name,
            "n": found["n"],
            "at": 100 * found["accuracy"],
            "text": percent(found["accuracy"]),
        }
        for name, found in (pairs.get("principles") or {}).items()
    ]
    return {"tiles": tiles, "principles": principles} if tiles else None
