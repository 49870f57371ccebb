"""One rank of a launched training step, started by `launch` through torchrun.

    python -m stages.runtime.pipeline.worker <job.json>

In: the job that `launch` wrote. Out: beside it `result.json` by rank 0, or `error.json` by a rank
that raised a UserError; and how the calls of each rank were answered.
"""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.guards.console import format_traceback, guard_libraries, open_console
from stages.guards.disk import write_atomically
from stages.guards.errors import UserError, cause_of
from stages.guards.secrets import mask, remember_secret, restore_secrets
from stages.runtime.artifacts import Artifact
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.pipeline.launch import SECRETS, TALLIES, die_with_parent
from stages.runtime.stage import load_stage
from stages.runtime.store import CallStore
from stages.runtime.typed_config import parse_config

SHARDING = ("FSDP", "DEEPSPEED")
"""Ways of accelerate's to spread a model over processes."""


def main(job_file: str) -> int:
    """Run the job's stage in this rank; return the exit code."""
    die_with_parent()
    guard_libraries()
    folder = Path(job_file).parent
    rank = int(os.environ.get("RANK", "0"))
    job: dict[str, Any] = json.loads(Path(job_file).read_text(encoding="utf-8"))
    secrets = json.loads(os.environ.pop(SECRETS))
    for secret in secrets:
        remember_secret(secret)
    job = restore_secrets(job, secrets)
    stage = load_stage(job["stage"])
    config = parse_config(stage.config, job["config"], f"step {job['step']!r}")
    inputs = {
        name: Artifact(step, Path(directory)) for name, (step, directory) in job["inputs"].items()
    }
    store = CallStore(folder / f"calls-{rank}.sqlite", behind=job["store"])
    with asyncio.Runner() as loop:
        engines = Engines(**job["generator"])
        context = Context(
            step=job["step"],
            directory=Path(job["directory"]),
            seed=job["seed"],
            store=store,
            engines=engines,
            loop=loop,
            console=open_console(stderr=True, quiet=rank != 0),
            concurrency=job["concurrency"],
            max_failed=job["max_failed"],
            checkpoint_minutes=job["checkpoint_minutes"],
        )
        try:
            _refuse_sharding_on_cpus(job["step"])
            result = stage.run(config, inputs, context)
        except UserError as error:
            facts = {"what": error.what, "where": error.where, "fix": error.fix, "cause": ""}
            cause = cause_of(error)
            if cause:
                facts["cause"] = format_traceback(cause)
            message = {name: mask(text) for name, text in facts.items()}
            write_atomically(folder / "error.json", json.dumps(message))
            return 2
        finally:
            loop.run(engines.release())
            store.close()
            counted = json.dumps(asdict(context.tally))
            write_atomically(folder / TALLIES.replace("*", str(rank)), counted)
    if rank == 0:
        dropped = [asdict(row) for row in result.dropped]
        report = {"dropped": dropped, "metrics": result.metrics, "warnings": result.warnings}
        write_atomically(folder / "result.json", json.dumps(report))
    return 0


def _refuse_sharding_on_cpus(step: str) -> None:
    """Refuse FSDP and DeepSpeed without a GPU: accelerate would not shard, and say nothing.

    Raises:
        UserError: the launcher asks for one of them.
    """
    asked = [kind for kind in SHARDING if os.environ.get(f"ACCELERATE_USE_{kind}") == "true"]
    if not asked:
        return
    import torch

    if not torch.accelerator.is_available():
        raise UserError(
            f"{' and '.join(asked)} spread a model over GPUs, and there is none",
            where=f"step {step!r}",
            fix="set launcher=torchrun: each process then holds the whole model",
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
