"""Measure the embedded model and write docs/embedded-model.md.

Usage: `python -m stages.world.pretraining.scorecard [--model PATH]`.
"""

import argparse
import time
from pathlib import Path

import torch

from stages.world import CHECKPOINT
from stages.world.pretraining.exams.inference import load
from stages.world.pretraining.exams.judging import judge_rows, value_rows
from stages.world.pretraining.exams.measures import Row, Setting, table
from stages.world.pretraining.exams.writing import critique_rows, fix_rows, raw_rows, steering_rows

REPORT = Path(__file__).resolve().parents[3] / "docs/embedded-model.md"
TEXT = Path(__file__).with_name("report.md")
MARKER = "<!-- scorecard -->"
"""The place of the tables in the written text."""

EXAMS = (judge_rows, critique_rows, fix_rows, value_rows, raw_rows, steering_rows)


def run_exams(model_path: Path | str, cases: int) -> list[Row]:
    """Run every exam, printing its rows when it is done."""
    model = load(model_path)
    rows: list[Row] = []
    for exam in EXAMS:
        start = time.time()
        exam_rows = exam(model, Setting(cases))
        rows += exam_rows
        seconds = time.time() - start
        print(f"\n{exam.__name__}, {seconds:.0f} s\n{table(exam_rows)}", flush=True)
    return rows


def report(rows: list[Row]) -> str:
    """The documentation page: the written text, the tables and the targets that were missed."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    parts = [f"### {group}\n\n{table(members)}" for group, members in groups.items()]
    misses = []
    for row in rows:
        if row.outcome == "missed":
            miss = f"- {row.group}, {row.name}: {row.share:.3f}, target {row.target:.2f}"
            prototype = "" if row.prototype is None else f", prototype {row.prototype:.2f}"
            misses.append(miss + prototype)
    parts.append("### Missed targets\n\n" + ("\n".join(misses) or "None."))
    return TEXT.read_text().replace(MARKER, "\n\n".join(parts))


def main() -> None:
    """Read the command line, measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINT)
    parser.add_argument("--cases", type=int, default=400, help="cases of each exam")
    parser.add_argument("--report", type=Path, default=REPORT, help="page to write")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    rows = run_exams(arguments.model, arguments.cases)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(report(rows))
    print(f"\nwrote {arguments.report}")


if __name__ == "__main__":
    main()
