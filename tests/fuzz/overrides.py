"""Random overrides of every group and every stage's options, and a fast plan to try them on.

`draw_overrides` also says whether a draw must be refused, as far as the types of the options, their
bounds and the kinds of the inputs say so. A draw of which nothing is known may be either.
"""

import argparse
import asyncio
import io
import random
import sys
import tempfile
import time
import types
import typing
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import run
from stages import STAGES
from stages.guards.console import LiteralConsole
from stages.guards.errors import UserError
from stages.runtime.calls import Engines
from stages.runtime.pipeline.config_files import guard_config_files
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.settings import Settings, as_user_error
from stages.runtime.pipeline.steps import join_sections
from stages.runtime.stage import fits, load_stage
from stages.runtime.store import CallStore

CONF = Path(__file__).resolve().parents[2] / "conf"
PIPELINES = sorted(path.stem for path in (CONF / "pipeline").glob("*.yaml"))
SLOW = 10.0
"""Seconds after which a plan hangs."""
NEEDS_FILES = (
    *("benchmarks", "human_reward_model", "human_principles"),
    *("in_context", "instructions", "judge_quality"),
)
"""Pipelines whose files and models are not in this repository."""
JUNK = (
    *("=", "+=", "a", "=1", "+x", "~", "~x", "~x=1", "++", "++a.b.c=1", "+a+b=1", "a=b=c", "a==b"),
    *("'", '"', "a='", 'a="b', "seed='", "seed=[", "seed={", "seed={a", "seed=[1,2", "seed=(1)"),
    *("seed=${x}", "seed=${oc.env:UNSET_X}", "seed=${oc.decode:'['}", "seed=${seed}"),
    *("seed=${oc.create:{a:1}}", "seed=${nope:1}", "seed=${", "seed=${}", "seed=$", "seed=???"),
    *(
        "seed=${constitution}",
        "constitution.name=${seed}",
        "runs_dir=${runs_dir}",
        "seed=${..seed}",
    ),
    *("pipeline=", "pipeline=null", "pipeline=[cai]", "pipeline={a: 1}", "pipeline=cai,dpo"),
    *("model=", "data=${x}", "scale=[]", "generator@x=vllm", "+generator@x=vllm", "x@y=z"),
    *(
        "pipeline@a@b=cai",
        "generator/a=b",
        "../generator=vllm",
        "generator=../vllm",
        "pipeline=/etc",
    ),
    *("hydra.run.dir=null", "hydra.run.dir=", "hydra.mode=x", "~hydra", "hydra/x=y"),
    *("hydra.job.chdir=maybe", "hydra.verbose=[a", "hydra.callbacks=1", "hydra/job_logging=x"),
    *(
        "=seed",
        "seed =1",
        " seed=1",
        "seed=\0",
        "se\0ed=1",
        "seed=\ud800",
        "\ud800=1",
        "s\u00e9ed=1",
    ),
    *("seed=" + "9" * 5000, "seed=" + "[" * 3000, "x" * 100_000, "seed=" + "a" * 100_000),
    *("constitution=abc", "constitution=null", "constitution=[a]", "ablate=3", "until={a: 1}"),
    *("pipeline.steps=null", "pipeline.steps=[1]", "+pipeline.steps.x=null", "+pipeline.steps.x=1"),
    *("+pipeline.steps.x.stage=null", "+pipeline.steps.x={stage: [a]}", "~pipeline.steps"),
    *("+pipeline.steps.x={stage: filter}", "+pipeline.steps.x={stage: filter, inputs: [a]}"),
    *("+pipeline.steps.x={stage: filter, inputs: {rows: x}}", "~pipeline.steps.base", "~scale"),
    *("++data=null", "~data", "++model=null", "~model.sampling", "generator=null", "~generator"),
    *("~seed", "~ablate", "~store", "store=null", "store=[]", "+local=x", "+nonsense=1", "plan=x"),
)
"""Strings that no one should write; some of them mean something."""


@dataclass(frozen=True)
class Draw:
    """Overrides, and whether they must be refused."""

    overrides: list[str]
    is_surely_wrong: bool


def draw_overrides(rng: random.Random) -> Draw:
    """Draw one pipeline and up to four overrides of it."""
    pipeline = rng.choice([name for name in PIPELINES if name not in NEEDS_FILES])
    overrides, wrong = [f"pipeline={pipeline}"], False
    for _ in range(rng.randint(1, 4)):
        draw = rng.choices((_of_a_step, _of_settings, _of_inputs, _of_junk), (10, 3, 3, 1))[0]
        override, is_wrong = draw(rng, pipeline)
        overrides.append(override)
        wrong = wrong or is_wrong
    keys = [one.lstrip("+~").partition("=")[0] for one in overrides]
    hides = any(
        one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")
        for place, one in enumerate(keys)
        for other in keys[:place]
    )
    return Draw(overrides, wrong and not hides)


def plan_quietly(overrides: Sequence[str], runs_dir: Path) -> str | None:
    """Compose a config and plan it; return what is refused, or None.

    Raises:
        Exception: anything but a user's error: a fault of Credo's.
    """
    OmegaConf.register_new_resolver("variants", run.variants, replace=True)
    try:
        config = _compose([*overrides, f"runs_dir={runs_dir}"])
    except Exception as error:
        known = as_user_error(error)
        if known.what.startswith("the jobs' launcher stopped"):
            raise
        return str(known)
    try:
        settings, _, steps = run.prepare(config)
        plan_steps(steps, settings, runs_dir)
    except UserError as error:
        return str(error)
    return None


def _compose(overrides: Sequence[str]) -> Any:
    GlobalHydra.instance().clear()
    guard_config_files()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def plan_steps(steps: Sequence[Any], settings: Settings, runs_dir: Path) -> None:
    """Plan without sending or showing anything."""
    store = CallStore(runs_dir / "calls.sqlite")
    console = LiteralConsole(file=io.StringIO())
    generator = settings.generator
    engines = Engines(generator.name, generator.options, generator.keep)
    try:
        with asyncio.Runner() as loop:
            root = runs_dir / "artifacts"
            runner = Runner(root, settings.seed, store, engines, console, loop)
            runner.plan(steps)
    finally:
        store.close()


@cache
def _steps_of(pipeline: str) -> dict[str, dict[str, Any]]:
    """The steps of a pipeline file that are not in loops, by their place in the config."""
    config = _compose([f"pipeline={pipeline}"])
    plain: Any = OmegaConf.to_container(config.pipeline, resolve=False)
    steps = {}
    for section in ("steps", "last_steps"):
        for name, step in (plain.get(section) or {}).items():
            if isinstance(step, dict) and "stage" in step:
                steps[f"pipeline.{section}.{name}"] = step
    assert join_sections(plain)
    return steps


def _of_a_step(rng: random.Random, pipeline: str) -> tuple[str, bool]:
    place, step = rng.choice(list(_steps_of(pipeline).items()))
    config_type = load_stage(STAGES[step["stage"]]).config
    if rng.random() < 0.05:
        return f"++{place}.{_misspell(rng, config_type)}=1", True
    option = rng.choice(fields(config_type)).name
    hint = typing.get_type_hints(config_type, include_extras=True)[option]
    value, wrong = draw_value(rng, hint)
    return f"++{place}.{option}={value}", wrong


def _of_settings(rng: random.Random, pipeline: str) -> tuple[str, bool]:
    hints = typing.get_type_hints(Settings, include_extras=True)
    name = rng.choice(("ablate", "generator", "launcher", "max_failed", "seed", "until"))
    hint = hints[name]
    if is_dataclass(hint):
        inner = rng.choice(fields(hint)).name
        hint, name = typing.get_type_hints(hint, include_extras=True)[inner], f"{name}.{inner}"
    value, wrong = draw_value(rng, hint)
    return f"++{name}={value}", wrong


def _of_inputs(rng: random.Random, pipeline: str) -> tuple[str, bool]:
    """Wire an input of a step to any other step of the pipeline."""
    steps = {place: step for place, step in _steps_of(pipeline).items() if step.get("inputs")}
    place, step = rng.choice(list(steps.items()))
    name = rng.choice(list(step["inputs"]))
    source_place, source = rng.choice(list(_steps_of(pipeline).items()))
    gives = load_stage(STAGES[source["stage"]]).gives
    takes = load_stage(STAGES[step["stage"]]).kind_of(name)
    wrong = not isinstance(gives, str) and not fits(gives, takes)
    if rng.random() < 0.1:
        return f"{place}.inputs.{name}=nowhere", True
    return f"{place}.inputs.{name}={source_place.rpartition('.')[2]}", wrong


def _of_junk(rng: random.Random, pipeline: str) -> tuple[str, bool]:
    if rng.random() < 0.5:
        return rng.choice(JUNK), False
    letters = "abz019=+~@.,:/\\'\"[]{}()$ \t\n?#&*!%\0\ud800é😀"
    return "".join(rng.choice(letters) for _ in range(rng.randint(0, 30))), False


def _misspell(rng: random.Random, config_type: type) -> str:
    name = rng.choice(fields(config_type)).name
    return f"{name}_{rng.choice('xyz')}"


def draw_value(rng: random.Random, hint: Any) -> tuple[str, bool]:
    """Draw a value of an option as it is written on the command line; True: it must be refused."""
    base, metadata = _without_extras(hint)
    types_of = [one for one in get_args(base) if one is not type(None)]
    if get_origin(base) in (types.UnionType, typing.Union):
        if type(None) in get_args(base) and rng.random() < 0.2:
            return "null", False
        return draw_value(rng, rng.choice(types_of)) if len(types_of) == 1 else ("{x: 1}", False)
    if base is Any:
        return rng.choice(("1", "abc", "[1]", "nan")), False
    wrong = rng.random() < 0.5
    return rng.choice(_WRONG(base, metadata) if wrong else _FINE(base, metadata)), wrong


def _without_extras(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    metadata: tuple[Any, ...] = ()
    while get_origin(hint) is typing.Annotated:
        hint, *extras = get_args(hint)
        metadata += tuple(extras)
    return hint, metadata


def _WRONG(base: Any, metadata: Sequence[Any]) -> Sequence[str]:
    """Values that no option of a type takes."""
    if base in (int, float):
        bounded = ("-1", "-0.5") if metadata else ()
        whole = ("1.5", "1.0", "1e30", "9" * 30) if base is int else ("1" * 400,)
        return ("abc", "true", "'5'", "[1]", "{a: 1}", "nan", "inf", "-inf", "''", *bounded, *whole)
    if base is bool:
        return ("abc", "3", "[true]", "{a: 1}", "'true'", "null", "1")
    if base is str:
        return ("[a]", "{a: 1}", "3", "true", "1.5", *(("''", "' '") if metadata else ()))
    if get_origin(base) is Literal:
        return ("nonsense", "7", "[a]", "{a: 1}", "''", "true")
    if get_origin(base) is tuple:
        return ("{a: 1}", "3", "[{a: 1}]", "[[a]]", "true", "[null]")
    if is_dataclass(base):
        return ("abc", "3", "[1]", "{nonsense: 1}", "true")
    return ("abc", "3", "[1]", "true")


def _FINE(base: Any, metadata: Sequence[Any]) -> Sequence[str]:
    """Values that options of a type often take; an option may still refuse them."""
    if base in (int, float):
        return ("1", "2", "8") if base is int else ("0.5", "0.25", "1")
    if base is bool:
        return ("true", "false")
    if base is str:
        return ("abc", "world", "prompt")
    if get_origin(base) is Literal:
        return tuple(str(one) for one in get_args(base))
    if get_origin(base) is tuple:
        return ("[]", "[abc]", "[a, b]")
    return ("{}",)


def main() -> None:
    """Plan random overrides; print every fault of Credo's with its seed."""
    parser = argparse.ArgumentParser(description="Plan random overrides.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first draw")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seed, options.seed + options.count):
            draw = draw_overrides(random.Random(seed))
            started = time.monotonic()
            try:
                message = plan_quietly(draw.overrides, Path(folder))
            except Exception as error:
                outcome, details = "traceback", repr(error)
            else:
                outcome, details = "accepted" if message is None else "refused", ""
                if message is None and draw.is_surely_wrong:
                    outcome = "wrongly accepted"
            if time.monotonic() - started > SLOW:
                outcome = "slow"
            counts[outcome] += 1
            if outcome not in ("accepted", "refused"):
                print(seed, outcome, ascii(draw.overrides)[:500], details[:300], flush=True)
    print(dict(counts))
    sys.exit(bool(counts.keys() - {"accepted", "refused"}))


if __name__ == "__main__":
    main()
