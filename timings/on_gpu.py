"""Whole pipelines at real size on one card: seconds, tokens/s, peak memory and share of the card's
peak for each step.

    python timings/on_gpu.py --model HuggingFaceTB/SmolLM2-1.7B-Instruct --minutes 12
    python timings/on_gpu.py --pipelines cai salmon --generator vllm --rows 512
    python timings/on_gpu.py --model embedded --data world --pipelines dpo --rows 12   # a laptop

Seconds are those of the manifests, with the loading of models. Tokens are what went through a
model, padding included: counted in every forward pass of this process, and for vLLM, which computes
in another one, from its answers less what its cache held. A step's FLOPs are parameters x tokens x
2 in a forward pass, x 6 where gradients are learnt from. Memory is the card's in use, read twice a
second; on a CPU it is that of the process and its children. Steps that earlier runs made are not
timed: take a new folder.

Writes `on_gpu.json` and `on_gpu.md` into the folder, also when the time is up or a pipeline fails.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stages import STAGES  # noqa: E402
from stages.guards.console import open_console  # noqa: E402
from stages.guards.errors import UserError  # noqa: E402
from stages.pretrained.hardware import find_peak  # noqa: E402
from stages.pretrained.provenance import git_state, versions  # noqa: E402
from stages.runtime.calls import Engines  # noqa: E402
from stages.runtime.generator_registry import open_generator  # noqa: E402
from stages.runtime.manifest import MANIFEST, read_manifest  # noqa: E402
from stages.runtime.pipeline.runner import Runner  # noqa: E402
from stages.runtime.pipeline.steps import join_sections, read_steps  # noqa: E402
from stages.runtime.store import CallStore  # noqa: E402

FORWARD, LEARNING = 2, 6
"""FLOPs for each parameter and token."""
INTERVAL = 0.5
"""Seconds between two readings of the memory."""


@dataclass(frozen=True)
class Pass:
    """Tokens that went through a model at one time."""

    time: float
    tokens: int
    flops: float


@dataclass
class Meter:
    """What is read while the pipelines run; steps are cut out of it by their times."""

    passes: list[Pass] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    """(time, bytes in use)."""

    def between(self, start: float, end: float) -> tuple[int, float, int]:
        """Return the tokens and FLOPs of an interval, and its peak of memory in bytes."""
        passes = [one for one in self.passes if start < one.time <= end]
        memory = [used for moment, used in self.memory if start <= moment <= end + INTERVAL]
        tokens = sum(one.tokens for one in passes)
        return tokens, sum(one.flops for one in passes), max(memory, default=0)


@dataclass(frozen=True)
class Timed:
    """A step's line."""

    pipeline: str
    step: str
    stage: str
    seconds: float
    rows: int | None
    calls: int
    written: int
    """Tokens that an engine wrote."""
    tokens: int
    """Tokens that went through a model."""
    peak_bytes: int
    flops: float
    share: float | None
    """Of the card's peak; None where that is not known."""


def describe_card() -> dict[str, Any]:
    """Return the name, driver and peak of the card, or of the CPU where there is none."""
    import torch

    if not torch.cuda.is_available():
        name = platform.processor() or platform.machine()
        return {"name": f"CPU ({name}, {os.cpu_count()} cores)", "driver": None, "peak": None}
    name = torch.cuda.get_device_name(0)
    (driver, *_) = query_card("driver_version")
    return {"name": name, "driver": driver, "peak": find_peak(name)}


def query_card(column: str) -> list[str]:
    """Return what nvidia-smi says of each card; it sees the engines of other processes too."""
    command = ["nvidia-smi", f"--query-gpu={column}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def read_memory(on_card: bool) -> int:
    """Return the bytes in use: of the first card, or of this process and its children."""
    if on_card:
        return int(query_card("memory.used")[0]) * 2**20
    import psutil

    own = psutil.Process()
    total = own.memory_info().rss
    for child in own.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.Error:
            continue
    return total


@contextmanager
def watch_memory(meter: Meter, on_card: bool) -> Iterator[None]:
    """Read the memory until the end of the block."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            meter.memory.append((time.time(), read_memory(on_card)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def active_parameters(network: Any) -> int:
    """Return the parameters that multiply a token: a table of embeddings counts only as a head."""
    head, table = network.get_output_embeddings(), network.get_input_embeddings()
    total: int = network.num_parameters()
    tied = head is not None and head.weight is table.weight
    return total if tied or table is None else total - table.weight.numel()


@contextmanager
def count_passes(meter: Meter) -> Iterator[None]:
    """Count the forward passes of all transformers models of this process."""
    import torch
    from transformers import PreTrainedModel

    inner = threading.local()
    parameters: dict[int, int] = {}
    call = PreTrainedModel.__call__

    def counted(network: Any, *args: Any, **values: Any) -> Any:
        if getattr(inner, "depth", 0):  # a part of a model that is counted
            return call(network, *args, **values)
        inner.depth = 1
        try:
            result = call(network, *args, **values)
        finally:
            inner.depth = 0
        texts = values.get("input_ids", args[0] if args else values.get("inputs_embeds"))
        if texts is not None:
            size = parameters.setdefault(id(network), active_parameters(network))
            tokens = texts.shape[0] * texts.shape[1]
            factor = LEARNING if network.training and torch.is_grad_enabled() else FORWARD
            meter.passes.append(Pass(time.time(), tokens, float(factor) * size * tokens))
        return result

    PreTrainedModel.__call__ = counted
    try:
        yield
    finally:
        del PreTrainedModel.__call__


class CountedEngine:
    """A vLLM engine; its answers are counted."""

    def __init__(self, engine: Any, parameters: int, meter: Meter):
        self.engine = engine
        self.parameters = parameters
        self.meter = meter
        self.computed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    async def complete(self, *args: Any) -> Any:
        completion = await self.engine.complete(*args)
        self.count(completion.completion_tokens)
        return completion

    async def choose(self, *args: Any) -> Any:
        choice = await self.engine.choose(*args)
        self.count(0)
        return choice

    def count(self, written: int) -> None:
        computed = self.engine.prompt_tokens - self.engine.cached_tokens
        tokens = computed - self.computed + written
        self.computed = computed
        flops = float(FORWARD) * self.parameters * tokens
        self.meter.passes.append(Pass(time.time(), tokens, flops))


def parameters_of(path: str) -> int:
    """Return the active parameters of a model that is not loaded here."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))
    network.tie_weights()
    return active_parameters(network)


def compose_steps(overrides: Sequence[str]) -> tuple[dict[str, Any], Any]:
    """Return the configuration and the steps of a pipeline, as run.py composes them."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    return config, read_steps(join_sections(config["pipeline"]), STAGES)


def run_pipeline(folder: Path, overrides: Sequence[str], meter: Meter) -> None:
    """Run a pipeline in this process; its calls and artifacts lie in `folder`."""
    config, steps = compose_steps(overrides)
    generator = config["generator"]

    async def open_counted(name: str, model: Any, options: Any) -> Any:
        engine = await open_generator(name, model, options)
        if name != "vllm":  # it computes in this process
            return engine
        return CountedEngine(engine, parameters_of(model.path), meter)

    store = CallStore(folder / "calls.sqlite")
    engines = Engines(generator["name"], generator["options"], generator["keep"], open_counted)
    console = open_console(stderr=True)
    try:
        with asyncio.Runner() as loop:
            runner = Runner(
                folder / "artifacts",
                config["seed"],
                store,
                engines,
                console,
                loop,
                generator["concurrency"],
            )
            try:
                runner.run(runner.plan(steps))
            finally:
                loop.run(engines.release())
    finally:
        store.close()


def time_steps(folder: Path, pipeline: str, start: float, meter: Meter, peak: Any) -> list[Timed]:
    """Return a line for every step that was finished since `start`, in the order of time."""
    lines = []
    for file in sorted((folder / "artifacts").glob(f"*/{MANIFEST}"), key=time_of):
        end = time_of(file)
        manifest = read_manifest(file.parent)
        if end < start or manifest.seconds == 0:
            continue
        tokens, flops, memory = meter.between(end - manifest.seconds, end)
        lines.append(
            Timed(
                pipeline=pipeline,
                step=manifest.step,
                stage=manifest.payload.stage,
                seconds=manifest.seconds,
                rows=manifest.rows if manifest.rows is not None else manifest.metrics.get("n"),
                calls=manifest.calls.sent,
                written=manifest.calls.tokens,
                tokens=tokens,
                peak_bytes=memory,
                flops=flops,
                share=flops / manifest.seconds / peak if peak and flops else None,
            )
        )
    return lines


def time_of(file: Path) -> float:
    return file.stat().st_mtime


def write_report(folder: Path, facts: dict[str, Any], lines: Sequence[Timed]) -> None:
    """Write the results as JSON and as a Markdown table."""
    report = facts | {"steps": [asdict(line) for line in lines]}
    (folder / "on_gpu.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (folder / "on_gpu.md").write_text(as_markdown(facts, lines), encoding="utf-8")


def as_markdown(facts: dict[str, Any], lines: Sequence[Timed]) -> str:
    """Return the table, under a line with the card and the versions."""
    card = facts["card"]
    driver = f", driver {card['driver']}" if card["driver"] else ""
    packages = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    columns = ["pipeline", "step", "stage", "seconds", "rows", "calls", "written tokens/s"]
    columns += ["tokens/s", "peak GiB"] + ["share of peak"] * bool(card["peak"])
    text = [f"{card['name']}{driver}; {packages}.", "", f"`{facts['command']}`", ""]
    text += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for line in lines:
        cells = [line.pipeline, line.step, line.stage, f"{line.seconds:.1f}"]
        cells += ["" if line.rows is None else str(line.rows), str(line.calls)]
        cells += [f"{line.written / line.seconds:.0f}", f"{line.tokens / line.seconds:.0f}"]
        cells += [f"{line.peak_bytes / 2**30:.1f}"]
        if card["peak"]:
            cells += ["" if line.share is None else f"{line.share:.1%}"]
        text.append(f"| {' | '.join(cells)} |")
    text += ["", *(f"{name}: {end}" for name, end in facts["ends"].items())]
    return "\n".join(text) + "\n"


def overrides_of(options: argparse.Namespace, pipeline: str) -> list[str]:
    """Return the command line of run.py for one pipeline."""
    chosen = [f"pipeline={pipeline}", f"generator={options.generator}"]
    if options.model == "embedded":
        chosen += ["model=embedded"]
    else:
        chosen += ["model=hub", f"model.path={options.model}"]
        if options.generator != "vllm":
            chosen += [f"model.{name}.use_vllm=false" for name in ("ppo", "grpo", "rloo")]
    few = max(options.rows // 4, 1)
    if options.data == "world":
        sizes = {"red_team": options.rows, "helpful": few, "held_out": few}
        sizes["held_out_helpful"] = few
        chosen += [f"data.{name}.arguments.count={size}" for name, size in sizes.items()]
        return [*chosen, *options.overrides]
    files = {name: Path(options.data) / f"{name}_test.jsonl.gz" for name in FILES}
    parts = {"red_team": ("harmless_base", 0, options.rows), "helpful": ("helpful", 0, few)}
    parts["held_out"] = ("harmless_base", options.rows, few)
    chosen += ["data=files"]
    for name, (file, offset, limit) in parts.items():
        source = f"data.{name}"
        chosen += [f"{source}.source={files[file].resolve()}", f"{source}.column=chosen"]
        chosen += [f"{source}.limit={limit}", f"+{source}.offset={offset}"]
    return [*chosen, *options.overrides]


FILES = ("harmless_base", "helpful")
"""The files of hh-rlhf, without their ending."""


@contextmanager
def stop_after(minutes: float) -> Iterator[None]:
    """Interrupt the block, as Ctrl-C does, when the time is up."""
    timer = threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-1.7B-Instruct")
    parser.add_argument("--generator", choices=["transformers", "vllm"], default="transformers")
    parser.add_argument("--pipelines", nargs="+", default=["cai", "rlaif"])
    parser.add_argument("--data", default=str(ROOT.parent / "shared/data/hh_rlhf"))
    parser.add_argument("--rows", type=int, default=256, help="red-team requests")
    parser.add_argument("--minutes", type=float, default=12.0, help="of all pipelines together")
    parser.add_argument("--out", type=Path, default=Path("runs/on_gpu"), help="a new folder")
    parser.add_argument("overrides", nargs="*", help="more of run.py's, after --")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    card = describe_card()
    meter, lines, ends = Meter(), [], {}
    facts = {"card": card, "versions": versions(), "git": git_state(), "ends": ends}
    facts["command"] = " ".join(["python timings/on_gpu.py", *(arguments or sys.argv[1:])])
    on_card = card["driver"] is not None
    try:
        with watch_memory(meter, on_card), count_passes(meter), stop_after(options.minutes):
            for name in options.pipelines:
                start = time.time()
                ends[name] = "not finished: the time was up"
                try:
                    run_pipeline(options.out, overrides_of(options, name), meter)
                    ends[name] = f"finished in {time.time() - start:.0f} s"
                except UserError as error:
                    ends[name] = f"failed: {error.what}"
                finally:
                    lines += time_steps(options.out, name, start, meter, card["peak"])
                    write_report(options.out, facts, lines)
    except KeyboardInterrupt:
        pass
    print((options.out / "on_gpu.md").read_text(encoding="utf-8"))
    return int(not all(end.startswith("finished") for end in ends.values()))


if __name__ == "__main__":
    sys.exit(main())
