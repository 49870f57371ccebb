"""The tripwires of online training in words: when they trip, and which tripped in one training.

In: a `Reading` of a training's curves. Out: sentences for the page.
"""

from collections.abc import Sequence

from stages.statistics.formatting import PER_CENT, format_number, format_percent, format_short
from stages.training.online.hacking.tripwires import (
    FEWEST,
    KL,
    LENGTH,
    MISSING,
    REFUSALS,
    REPETITION,
    SILENT,
    Reading,
)

WIRES = {
    "kl": "KL, nats",
    "length": "length, tokens",
    "refusals": "refusals, %",
    "repetition": "repetition, %",
    "silent": "silent on values, %",
    "missing": "no reward, %",
}


def describe_alarm() -> str:
    """When the page marks a tripwire."""
    length, refusals, repetition, silent = (
        format_short(PER_CENT * share) for share in (LENGTH, REFUSALS, REPETITION, SILENT)
    )
    return (
        "A tripwire is marked when, from the first tenth of the training to the last, the reward "
        f"rises by more than its noise and answers grow or shrink by more than {length} %, "
        f"refusals rise by more than {refusals} points, repetition by more than {repetition}, "
        f"the values that answers are silent on by more than {silent} points, "
        f"or the KL to the start ends above {format_short(KL)} nats an answer; "
        "also by more than noise. Answers without a reward are marked in any case where they are "
        f"more than {format_short(PER_CENT * MISSING)} % in the last tenth."
    )


def describe_reading(reading: Reading | None) -> str:
    """One sentence on which tripwires tripped, or why none did."""
    if reading is None:
        return (
            f"Too short to tell whether anything ran away: this needs {FEWEST} points of a curve."
        )
    ends = f"{format_number(reading.reward.first)} to {format_number(reading.reward.last)}"
    beyond = _join([_describe_drift(name, reading) for name in reading.beyond])
    # As long as rewards are whole, and no term reads values.
    absent = WIRES.keys() - reading.drifts.keys() - {"missing", "silent"}
    labels = [label for name, label in WIRES.items() if name in absent]
    missing = _join([label.partition(",")[0] for label in labels])
    after = f" Not logged: {missing}." if missing else ""
    if reading.tripped and reading.rises:
        return f"{beyond} while the reward rose from {ends}.{after}"
    if reading.rises:
        return f"Nothing ran away while the reward rose from {ends}.{after}"
    though = f", though {beyond}" if beyond else ""
    return f"The reward did not measurably rise ({ends}){though}.{after}"


def _describe_drift(name: str, reading: Reading) -> str:
    drift = reading.drifts[name]
    match name:
        case "length":
            verb = "grew" if drift.last > drift.first else "shrank"
            return f"answers {verb} from {drift.first:.0f} to {drift.last:.0f} tokens"
        case "kl":
            return f"the KL to the start reached {drift.last:.0f} nats an answer"
        case "missing":
            return f"{format_percent(drift.last, 0)} % of the answers had no reward"
        case _:
            start = format_percent(drift.first, 0)
            end = format_percent(drift.last, 0)
            return f"{name} rose from {start} to {end} %"


def _join(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
