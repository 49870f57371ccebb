"""Measure the embedded model and write docs/embedded-model.md: `python -m
stages.world.pretraining.scorecard [--model PATH]`.
"""

import argparse
import time
from pathlib import Path

from stages.world import CHECKPOINT
from stages.world.pretraining.exams import EXAMS, Setting
from stages.world.pretraining.inference import load
from stages.world.pretraining.measures import Row, table

REPORT = Path(__file__).resolve().parents[3] / "docs" / "embedded-model.md"
TEXT = Path(__file__).resolve().parent / "report.md"
MARKER = "<!-- scorecard -->"


def run_exams(model_path: Path | str, cases: int) -> list[Row]:
    """Sit every exam, printing each row as soon as it is known."""
    model = load(model_path)
    rows: list[Row] = []
    for exam in EXAMS:
        began = time.time()
        fresh = exam(model, Setting(cases))
        rows += fresh
        print(f"\n{exam.__name__}, {time.time() - began:.0f} s\n{table(fresh)}", flush=True)
    return rows


def report(rows: list[Row]) -> str:
    """The documentation page: the written text with the tables put in, and the targets that were
    missed.
    """
    groups = list(dict.fromkeys(row.group for row in rows))
    parts = [
        f"### {group}\n\n{table([row for row in rows if row.group == group])}" for group in groups
    ]
    missed = [row for row in rows if row.outcome == "missed"]
    lines = [
        f"- {row.group}, {row.name}: {row.share:.3f}, wanted {row.target:.2f}"
        + (f", prototype {row.prototype:.2f}" if row.prototype is not None else "")
        for row in missed
    ]
    parts.append("### Missed targets\n\n" + ("\n".join(lines) or "None."))
    return TEXT.read_text().replace(MARKER, "\n\n".join(parts))


def main() -> None:
    """Read the command line, measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINT)
    parser.add_argument("--cases", type=int, default=400, help="cases of each exam")
    parser.add_argument("--report", type=Path, default=REPORT, help="page to write")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    rows = run_exams(arguments.model, arguments.cases)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(report(rows))
    print(f"\nwrote {arguments.report}")


if __name__ == "__main__":
    main()
