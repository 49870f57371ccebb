"""How far a run is, in a few lines: what `status.json` says, and how old it is."""

import time
from datetime import datetime

from stages.runs.records import KILLED, RunRecord
from stages.runtime.progress import FAILED, FINISHED, PLANNING, RUNNING

BAR = 24
STALE = 60
"""Seconds without news from which a status says so."""
MINUTE, HOUR = 60, 3600


def describe_status(record: RunRecord) -> list[str]:
    """Return the status of a run in lines of at most 80 columns."""
    status = record.status
    state = record.state
    name = f"{record.label or record.id}  {record.pipeline} / {record.constitution}"
    lines = [f"{name}  {state} since {record.started}"[:80]]
    if state == RUNNING:
        lines += _describe_step(record)
    elif state == PLANNING:
        lines.append("  it plans: it looks which steps are there and counts calls")
    elif state == FAILED:
        error = " ".join(str(status.get("error", "")).split())
        lines.append(f"  {error}"[:80] if error else "  see run.log in its folder")
    elif state == KILLED:
        step = status.get("step")
        where = f" in step {step}" if step else ""
        lines.append(f"  its process ended{where}; the same command goes on from there")
    elif state == FINISHED and "seconds" in record.facts:
        lines.append(f"  took {format_duration(record.facts['seconds'])}")
    return lines


def _describe_step(record: RunRecord) -> list[str]:
    status = record.status
    if "step" not in status:
        return ["  its first step begins"]
    lines = [f"  step {status['number']} of {status['of']}: {status['step']}"]
    done, total = status.get("done"), status.get("total")
    if done is not None and total:
        filled = int(BAR * min(done / total, 1))
        text = f"  [{'#' * filled}{'.' * (BAR - filled)}] {done:g}/{total:g} {status['unit']}"
        if status.get("rate"):
            text += f", {status['rate']:.3g}/s"
        if status.get("left") is not None:
            text += f", {format_duration(status['left'])} left"
        lines.append(text)
    age = age_of(str(status.get("updated", "")))
    if age > STALE:
        lines.append(f"  no news for {format_duration(age)}")
    return lines


def age_of(moment: str) -> float:
    """Return the seconds since a time as a status holds it; 0 where it holds none."""
    try:
        return max(0.0, time.time() - datetime.fromisoformat(moment).timestamp())
    except ValueError:
        return 0.0


def format_duration(seconds: float) -> str:
    """Return `45 s`, `12 min` or `3 h 20 min`."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / MINUTE)
    if seconds < 2 * HOUR:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
