"""Stage `harness`: benchmarks of lm-evaluation-harness, through its Python API.

In: models under any names, the baseline first. Out: metrics and a table; `samples-<model>.jsonl`
beside them, the answer to each question and its metrics (the questions stay in their own file).
Each value is the one that `lm_eval run` prints for the same model, tasks, batch size and type of
weights; a test checks this. `harness_tasks.py` and `harness_loading.py` explain how tasks are found
and read from a user's files, without a network; `harness_numbers.py` how intervals are computed.

    models       {model: {"task: metric": {value, stderr, low, high, n}}}
    differences  {model: {"task: metric": paired difference against the first model}}

Source: Gao et al., lm-evaluation-harness (EleutherAI, MIT). Its own seeds stay (0, 1234), so that
numbers are comparable. Texts longer than the model's context lose their beginning, as in lm_eval.

Left out: its other model classes (APIs), tasks that run generated code, metrics fetched as code,
remote code; resuming an evaluation that was interrupted.
"""

import gc
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from jinja2 import TemplateError
from pydantic import Field

from stages.evaluation.benchmarks.harness_code import no_foreign_code, refuse_code
from stages.evaluation.benchmarks.harness_loading import (
    LoadedTasks,
    load_tasks,
    one_line,
)
from stages.evaluation.benchmarks.harness_numbers import (
    Measured,
    difference,
    estimate,
    read_results,
)
from stages.evaluation.benchmarks.harness_tasks import is_task_file, tasks_identity
from stages.evaluation.comparison import IntervalOptions, estimate_rows
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.models import Model
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Amount, Count, Names, SomeNames, Text, machine
from stages.statistics.formatting import format_confidence
from stages.statistics.intervals import Intervals

NOT_MODEL_ARGS = ("pretrained", "revision", "dtype", "trust_remote_code", "use_safetensors")
"""Arguments of lm_eval's model class that `model_args` cannot set."""
SAMPLE_KEYS = ("doc_id", "filter", "target", "filtered_resps")
MODEL_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    ImportError,
    LookupError,
    AttributeError,
    SyntaxError,
    TemplateError,
)
"""What lm_eval raises for a model or a task that it cannot run."""


@dataclass(frozen=True, kw_only=True)
class Config(IntervalOptions):
    tasks: SomeNames
    """Names of lm_eval's tasks and groups, and paths of task files."""
    data: dict[str, SomeNames] = field(default_factory=dict)
    """The file, or files, that a task reads in place of the Hub's dataset, by task."""
    trust_task_files: bool = machine(False)
    """Let task files of your own run the Python functions that they name (`!function`)."""
    metrics: Names = ()
    """The metrics to keep, such as acc and acc_norm; empty: all."""
    num_fewshot: Amount | None = None
    """Examples before each question; null: as the task specifies."""
    limit: Count | None = None
    """The number of questions of each task, from its beginning; null: all."""
    chat: bool = False
    """Put each question through the model's chat template."""
    template_arguments: dict[str, Any] = field(default_factory=dict)
    """Variables for the chat template."""
    backend: Literal["hf", "vllm"] = "hf"
    """lm_eval's `hf` (transformers) or `vllm` (on a GPU)."""
    model_args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the backend's class, such as add_bos_token or max_length."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """The type of the weights; "auto": as they are stored."""
    batch_size: Count = machine(16)
    """Questions at a time; the last digits of a sum in bfloat16 depend on it."""
    device: Text | None = machine(None)
    """A device in torch's notation; null: a GPU if there is one."""
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 1000
    """Draws of the bootstrap."""


def check(config: Config) -> None:
    """Refuse arguments of the model that the step sets itself, and task files with code."""
    refused = [name for name in NOT_MODEL_ARGS if name in config.model_args]
    if refused:
        raise UserError(
            f"model_args cannot set {', '.join(refused)}",
            fix="use the step's own options; code from a checkpoint never runs",
        )
    if not config.trust_task_files:
        refuse_code(list(filter(is_task_file, config.tasks)))


def identity(config: Config) -> dict[str, Any]:
    """The content of the data and task files; their folders are left out."""
    names = []
    for task in config.tasks:
        path = Path(task)
        names.append(path.name if path.suffix else task)
    return {"tasks": names} | tasks_identity(config.tasks, config.data)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Evaluate one model after the other.

    Raises:
        UserError: there is no model, a task or its data cannot be loaded, or lm_eval cannot run a
            model.
    """
    where = f"step {context.step!r}"
    models = {name: artifact.model() for name, artifact in inputs.items()}
    tasks = load_tasks(config.tasks, config.data, config.trust_task_files)
    context.release_engines()
    measured: dict[str, dict[str, Measured]] = {}
    facts: dict[str, Any] = {}
    for name, model in models.items():
        results = _evaluate(model, tasks, config)
        measured[name] = read_results(results, tasks.by_name, config.metrics)
        facts = _task_facts(results)
        _write_samples(context.directory / f"samples-{name}.jsonl", results.get("samples", {}))
    if not next(iter(measured.values())):
        raise UserError(
            "the tasks have none of the selected metrics",
            where=where,
            fix="set `metrics` to metrics of these tasks, or leave it out",
        )
    comparison = _compare(measured, config.intervals(context.seed))
    metrics = {"confidence": config.confidence, "tasks": facts, **comparison}
    return Result(metrics=metrics, tables=[_table(context.step, metrics)])


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    optional={"*": Model},
    least=1,
    reads={},
    check=check,
    identity=identity,
)


def _evaluate(model: Model, tasks: LoadedTasks, config: Config) -> dict[str, Any]:
    """lm_eval's results for one model."""
    import torch
    from lm_eval import simple_evaluate

    device = config.device
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with no_foreign_code():
            return simple_evaluate(
                model=config.backend,
                model_args=_model_arguments(model, config),
                tasks=list(tasks.specs),
                num_fewshot=config.num_fewshot,
                batch_size=config.batch_size,
                device=device,
                limit=config.limit,
                apply_chat_template=config.chat,
                task_manager=tasks.manager,
                log_samples=True,
            )  # type: ignore[return-value]
    except MODEL_ERRORS as error:
        raise UserError(
            f"lm_eval cannot evaluate this model: {one_line(error)}",
            where=model.path,
            fix="check the model's folder, `model_args`, `backend` and the tasks; `lm_eval run` "
            "prints more",
        ) from error
    finally:
        gc.collect()


def _model_arguments(model: Model, config: Config) -> dict[str, Any]:
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
    return arguments | config.model_args


def _task_facts(results: Mapping[str, Any]) -> dict[str, Any]:
    facts = {}
    for task, counts in results["n-samples"].items():
        facts[task] = {
            "version": results["versions"].get(task),
            "shots": results["n-shot"].get(task),
            "n": counts["effective"],
        }
    return facts


def _write_samples(path: Path, samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        for task, rows in samples.items():
            for row in rows:
                sample = {"task": task}
                for key in (*SAMPLE_KEYS, *row["metrics"], "doc_hash"):
                    sample[key] = row[key]
                line = json.dumps(sample, default=str, ensure_ascii=False)
                stream.write(line + "\n")


def _compare(
    measured: Mapping[str, Mapping[str, Measured]], intervals: Intervals
) -> dict[str, Any]:
    """`models` and `differences`, of the metrics that the first model has."""
    baseline = next(iter(measured.values()))
    models: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    for name, of_model in measured.items():
        common = [metric for metric in baseline if metric in of_model]
        models[name] = {metric: estimate(of_model[metric], intervals) for metric in common}
        if of_model is not baseline:
            differences[name] = {
                metric: difference(baseline[metric], of_model[metric], intervals)
                for metric in common
            }
    return {"models": models, "differences": differences}


def _table(step: str, metrics: Mapping[str, Any]) -> Table:
    """Values as lm_eval reports them, not in per cent, because not all are shares."""
    first, *others = metrics["models"]
    differences = [f"{other} less {first}" for other in others]
    confidence = format_confidence(metrics["confidence"])
    return Table(
        f"{step}: lm-evaluation-harness, with {confidence} intervals",
        ["task: metric", first, *others, *differences, "n"],
        estimate_rows(metrics["models"], metrics["differences"], factor=1, places=3),
    )
