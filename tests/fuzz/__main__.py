"""Try hostile input: `python -m tests.fuzz constitutions --count 500`.

python -m tests.fuzz constitutions data --count 500   inputs of two kinds
python -m tests.fuzz all --out runs/fuzz              every kind, as often as the large target asks
python -m tests.fuzz data --seed 7 --only 41          one input again, in this process
python -m tests.fuzz chaos --kills 200                kill real runs over texts and preferences
python -m tests.fuzz trainings --kills 20             kill trainings of every kind
python -m tests.fuzz disk --sizes 100                 fill disks of many sizes
python -m tests.fuzz memory --rows 20000              peak memory from prompts to pairs
python -m tests.fuzz summary --out runs/fuzz          what was written there, as a Markdown table
"""

import argparse
import importlib
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.fuzz.kinds import KINDS, load
from tests.fuzz.lane import Report, show, summary, try_kind
from tests.fuzz.pool import FINE, attempt

RUNS = {
    "chaos": "tests.fuzz.kills",
    "trainings": "tests.fuzz.trainings",
    "disk": "tests.fuzz.disks",
    "memory": "tests.fuzz.memory",
}
"""What needs whole runs, and reports in the same way."""


def main() -> int:
    """Return 1 if there was a finding."""
    # A shell ignores it for commands in the background, and every run would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = read_options()
    if options.what == ["summary"]:
        print(summary(options.out))
        return 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    names = [*KINDS, *RUNS] if options.what == ["all"] else options.what
    print(f"seed {seed}", flush=True)
    if options.only is not None:
        return try_again(names[0], seed, options.only)
    reports = []
    for name in names:
        if name in RUNS:
            report = importlib.import_module(RUNS[name]).run(seed, options)
        else:
            report = try_inputs(name, seed, options)
        report.write(options.out)
        reports.append(report)
        show([report])
    if len(reports) > 1:
        show(reports)
    if options.out:
        print(summary(options.out))
    return int(any(report.failed for report in reports))


def read_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choices = [*KINDS, *RUNS, "all", "summary"]
    parser.add_argument("what", nargs="+", choices=choices, metavar="WHAT", help=", ".join(choices))
    parser.add_argument("--count", type=int, help="inputs; else what the large target asks")
    parser.add_argument("--seed", type=int, help="else it is drawn, and printed")
    parser.add_argument("--seconds", type=float, help="try no further input after this time")
    parser.add_argument("--only", type=int, help="only the input of this number, in this process")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--out", type=Path, help="a folder for what was found, as JSON")
    parser.add_argument("--kills", type=int, help="of chaos (200) and of trainings (20)")
    parser.add_argument("--sizes", type=int, default=100, help="of disk")
    parser.add_argument("--rows", type=int, default=20_000, help="of memory")
    options = parser.parse_args()
    if options.what == ["summary"] and not options.out:
        parser.error("summary needs --out")
    return options


def try_inputs(name: str, seed: int, options: argparse.Namespace) -> Report:
    """Try as many inputs of a kind as asked."""
    kind = load(name)
    numbers = range(kind.count if options.count is None else options.count)
    return try_kind(name, kind, seed, numbers, options.jobs, options.seconds)


def try_again(name: str, seed: int, number: int) -> int:
    """Try one input in this process, where a debugger and its files can be seen."""
    kind = load(name)
    kind.prepare()
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-{number}-"))
    outcome = attempt(kind, name, seed, number, folder)
    print(f"{outcome.outcome} after {outcome.seconds:.1f} s; its files are in {folder}")
    print(outcome.detail)
    return int(outcome.outcome not in FINE)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
