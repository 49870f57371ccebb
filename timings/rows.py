"""How time and memory grow with the number of rows.

`replay`: keys alone, reads alone, and a whole step `respond` whose calls are all in the store.
`chain`: as many prompts and as many pairs from files, and the report on both. Each step runs in a
process of its own, whose peak of memory is reported.

    python timings/rows.py replay --rows 100000 --repeats 5
    python timings/rows.py chain --rows 100000
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

MEGABYTE = 1024  # of ru_maxrss, which counts kilobytes


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["replay", "chain"])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def run_alone(action: Callable[..., Any], *values: Any) -> dict[str, float]:
    """Seconds, seconds of CPU and peak memory (MB) of an action in a fresh process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, action, values))
    process.start()
    facts: dict[str, float] = receiver.recv()
    process.join()
    return facts


def _report(sender: Any, action: Callable[..., Any], values: tuple[Any, ...]) -> None:
    from tests import running  # noqa: F401  what every action imports is not measured

    started, cpu = time.perf_counter(), time.process_time()
    action(*values)
    sender.send(
        {
            "s": time.perf_counter() - started,
            "cpu": time.process_time() - cpu,
            "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE,
        }
    )


def run(folder: Path, steps: dict[str, Any], only: list[str]) -> None:
    """Run these steps; the earlier ones are there already, so that they are reused."""
    from tests.running import run_steps

    names = list(steps)
    last = max(names.index(name) for name in only)
    run_steps({name: steps[name] for name in names[: last + 1]}, folder)


def find_steps(folder: Path) -> dict[str, Any]:
    from tests.running import fake_model

    return {
        "base": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "requests": {"stage": "prompts", "source": str(folder / "prompts.jsonl")},
        "answers": {"stage": "respond", "inputs": {"prompts": "requests", "model": "base"}},
    }


def write_prompts(folder: Path, rows: int) -> None:
    with (folder / "prompts.jsonl").open("w") as stream:
        for i in range(rows):
            text = f"request number {i}: how do I make something of {i % 97} parts? " * 4
            stream.write(json.dumps({"prompt": text}) + "\n")


def write_pairs(folder: Path, rows: int) -> None:
    with (folder / "pairs.jsonl").open("w") as stream:
        for i in range(rows):
            pair = {"prompt": f"request number {i}: how do I make something? " * 4}
            pair |= {"chosen": f"first do {i}, then rest. " * 8, "rejected": f"no {i}. " * 16}
            stream.write(json.dumps(pair) + "\n")


def measure_keys(rows: int) -> None:
    from stages.runtime.store import call_key

    for i in range(rows):
        messages = [{"role": "user", "content": f"request number {i}: how do I? " * 4}]
        sampling = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 256, "stop": ()}
        call_key(
            model="m", generator={}, verb="complete", messages=messages, sampling=sampling, seed=i
        )


def measure_reads(store: Path) -> None:
    from stages.runtime.store import CallStore

    calls = CallStore(store)
    keys = [str(row[0], "utf-8") for row in calls._db.connection.execute("SELECT key FROM calls")]
    keys.sort(key=lambda key: key[::-1])  # as calls come: in no order of the file
    for key in keys:
        assert calls.get(key) is not None
    calls.close()


def replay(rows: int, repeats: int) -> None:
    folder = Path(tempfile.mkdtemp())
    write_prompts(folder, rows)
    steps = find_steps(folder)
    show("prompts", [run_alone(run, folder, steps, ["requests"])])
    show("respond, all calls sent and stored", [run_alone(run, folder, steps, ["answers"])])
    show("keys alone", [run_alone(measure_keys, rows) for _ in range(repeats)])
    reads = [run_alone(measure_reads, folder / "calls.sqlite") for _ in range(repeats)]
    show("reads alone", reads)
    facts = []
    for number in range(repeats):
        steps[f"again{number}"] = steps["answers"]  # another step, the same calls
        facts.append(run_alone(run, folder, steps, [f"again{number}"]))
    show("respond, all calls stored", facts)


def chain(rows: int, repeats: int) -> None:
    folder = Path(tempfile.mkdtemp())
    write_prompts(folder, rows)
    write_pairs(folder, rows)
    steps = find_steps(folder)
    del steps["answers"]
    steps["pairs"] = {"stage": "human_pairs", "source": str(folder / "pairs.jsonl")}
    steps["report"] = {"stage": "report", "inputs": {"requests": "requests", "pairs": "pairs"}}
    show("prompts", [run_alone(run, folder, steps, ["requests"])])
    show("pairs", [run_alone(run, folder, steps, ["pairs"])])
    show("report", [run_alone(run, folder, steps, ["report"])])
    page = next((folder / "artifacts").glob("report-*/report.html"))
    print(f"page: {page.stat().st_size / 2**20:.2f} MB")


def show(name: str, facts: list[dict[str, float]]) -> None:
    texts = []
    for unit in facts[0]:
        values = [fact[unit] for fact in facts]
        spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
        texts.append(f"{unit} {statistics.median(values):.1f}{spread}")
    print(f"{name}: {', '.join(texts)}", flush=True)


if __name__ == "__main__":
    given = arguments()
    {"replay": replay, "chain": chain}[given.what](given.rows, given.repeats)
