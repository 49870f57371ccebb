"""Stage `harness`: benchmarks of lm-evaluation-harness, through its Python API.

In: models under any names, the baseline first. Out: metrics and a table; `samples-<model>.jsonl`
beside them, what each question was answered and counted as (the questions stay in their own file).
Each value is the one that `lm_eval run` prints for the same model, tasks, batch size and type of
weights; a test holds it to that. `harness_tasks.py` tells how tasks are found and read from files
of one's own, without a network; `harness_numbers.py` where intervals come from.

    models       {model: {"task: metric": {value, stderr, low, high, n}}}
    differences  {model: {"task: metric": paired difference against the first model}}

Source: Gao et al., lm-evaluation-harness (EleutherAI, MIT). Its own seeds stay (0, 1234), so that
numbers compare. Texts longer than the model's context lose their beginning, as they do there. Left
out: its other model classes (APIs), tasks that run generated code, metrics fetched as code, remote
    code; resuming in the middle.
"""

import gc
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.evaluation.benchmarks.harness_numbers import (
    Measured,
    difference,
    estimate,
    read_results,
)
from stages.evaluation.benchmarks.harness_tasks import (
    load_tasks,
    no_fetched_metrics,
    tasks_identity,
)
from stages.statistics.formatting import format_estimate as shown
from stages.runtime.artifacts import Artifact, Result, Table
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.runtime.settings import Names, machine
from stages.runtime.stage import ANY, Stage
from stages.training.model_files import refuse_adapter

OURS = (
    "pretrained",
    "revision",
    "dtype",
    "trust_remote_code",
    "use_safetensors",
)  # what is not set through model_args


@dataclass(frozen=True)
class Config:
    """Args:
    tasks: names of lm_eval's tasks and groups, and paths of task files.
    data: the file, or files, that a task reads in place of the Hub's dataset, by task.
    metrics: which to keep, such as acc and acc_norm; empty: all.
    num_fewshot: examples before each question; null: as the task says.
    limit: the first so many questions of each task.
    chat: put each question through the model's chat template.
    template_arguments: variables for that template.
    backend: lm_eval's `hf` (transformers) or `vllm` (on a GPU).
    model_args: further arguments of that class, such as add_bos_token or max_length.
    dtype: of the weights; "auto": as they are stored.
    batch_size: questions at a time; the last digits of a sum in bfloat16 depend on it.
    device: torch's name; null: a GPU where there is one.
    resamples, confidence: of the intervals.
    """

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    data: dict[str, Names] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    chat: bool = False
    template_arguments: dict[str, Any] = field(default_factory=dict)
    backend: Literal["hf", "vllm"] = "hf"
    model_args: dict[str, Any] = field(default_factory=dict)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: Annotated[int, Field(ge=1)] = machine(16)
    device: str | None = machine(None)
    resamples: Annotated[int, Field(ge=100)] = 1000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95


def identity(config: Config) -> dict[str, Any]:
    """The data's paths are left out; their content counts. So does where a task file lies."""
    tasks = [Path(task).name if Path(task).suffix else task for task in config.tasks]
    return {"tasks": tasks} | tasks_identity(config.tasks, config.data)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Evaluate one model after the other.

    Raises:
        UserError: no model, a task or its data that cannot be loaded, or a model that lm_eval
        cannot run.
    """
    where = f"step {context.step!r}"
    if not inputs:
        fix = "add `inputs: {base: <a step that makes or names a model>, tuned: <another>}`"
        raise UserError("there is no model to evaluate", where=where, fix=fix)
    if taken := [name for name in OURS if name in config.model_args]:
        fix = "use the step's own options; code from a checkpoint never runs"
        raise UserError(f"model_args may not set {', '.join(taken)}", where=where, fix=fix)
    models = {name: artifact.model() for name, artifact in inputs.items()}
    manager, specs, tasks = load_tasks(config.tasks, config.data)
    context.release_engines()
    found: dict[str, dict[str, Measured]] = {}
    facts: dict[str, Any] = {}
    for name, model in models.items():
        results = _evaluate(model, manager, specs, config)
        found[name] = read_results(results, tasks, config.metrics)
        facts = {
            task: {
                "version": results["versions"].get(task),
                "shots": results["n-shot"].get(task),
                "n": counts["effective"],
            }
            for task, counts in results["n-samples"].items()
        }
        _write_samples(context.directory / f"samples-{name}.jsonl", results.get("samples", {}))
    names = list(models)
    kept = list(found[names[0]])
    if not kept:
        fix = "set `metrics` to some that they give, or leave it out"
        raise UserError("the tasks gave none of these metrics", where=where, fix=fix)
    settings = (config.resamples, config.confidence, context.seed)
    metrics = {
        "confidence": config.confidence,
        "tasks": facts,
        "models": {
            name: {m: estimate(found[name][m], *settings) for m in kept if m in found[name]}
            for name in names
        },
        "differences": {
            name: {
                m: difference(found[names[0]][m], found[name][m], *settings)
                for m in kept
                if m in found[name]
            }
            for name in names[1:]
        },
    }
    return Result(metrics=metrics, tables=[_table(context.step, metrics)])


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional=ANY,
    identity=identity,
)


def _evaluate(model: Model, manager: Any, specs: list[Any], config: Config) -> dict[str, Any]:
    refuse_adapter(model)
    import torch
    from lm_eval import simple_evaluate

    arguments: dict[str, Any] = {
        "pretrained": model.path,
        "dtype": config.dtype,
        "trust_remote_code": False,
    }
    if model.revision:
        arguments["revision"] = model.revision
    if config.backend == "hf":
        arguments["use_safetensors"] = True
    if config.template_arguments:
        arguments["chat_template_args"] = dict(config.template_arguments)
    try:
        with no_fetched_metrics():
            return simple_evaluate(
                model=config.backend,
                model_args=arguments | config.model_args,
                tasks=list(specs),
                num_fewshot=config.num_fewshot,
                batch_size=config.batch_size,
                device=config.device or ("cuda" if torch.cuda.is_available() else "cpu"),
                limit=config.limit,
                apply_chat_template=config.chat,
                task_manager=manager,
                log_samples=True,
            )  # type: ignore[return-value]
    except (OSError, ValueError, TypeError, ImportError, ModuleNotFoundError) as error:
        reason = " ".join(str(error).split())[:300]
        fix = "check the model's folder, `model_args`, `backend` and the tasks; `lm_eval run` says more"
        raise UserError(
            f"lm_eval cannot evaluate this model: {reason}", where=model.path, fix=fix
        ) from error
    finally:
        gc.collect()


def _write_samples(path: Path, samples: dict[str, list[dict[str, Any]]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for task, rows in samples.items():
            for row in rows:
                kept = {
                    key: row[key]
                    for key in (
                        "doc_id",
                        "filter",
                        "target",
                        "filtered_resps",
                        *row["metrics"],
                        "doc_hash",
                    )
                }
                stream.write(
                    json.dumps({"task": task} | kept, default=str, ensure_ascii=False) + "\n"
                )


def _table(step: str, metrics: dict[str, Any]) -> Table:
    """Values as lm_eval gives them, not in per cent: some are shares, some are not."""
    names = list(metrics["models"])
    rows = []
    for metric, first in metrics["models"][names[0]].items():
        found = [metrics["models"][name].get(metric) for name in names]
        changes = [metrics["differences"][name].get(metric) for name in names[1:]]
        cells = [_cell(e) for e in found] + [_cell(c, "+") for c in changes]
        rows.append([metric, *cells, str(first["n"])])
    versus = [f"{name} less {names[0]}" for name in names[1:]]
    title = f"{step}: lm-evaluation-harness, with {100 * metrics['confidence']:.0f} % intervals"
    return Table(title, ["task: metric", *names, *versus, "n"], rows)


def _cell(estimate: dict[str, Any] | None, sign: str = "") -> str:
    if estimate is None or estimate["low"] is not None:
        return shown(estimate, 1, 3, sign=sign)  # type: ignore[arg-type]
    return f"{estimate['value']:{sign}.3f}"
