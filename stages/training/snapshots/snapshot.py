"""Stage `snapshot`: a policy of a training as it was before the end.

In: `model`, a training that keeps some (`snapshots: N` of any training stage); optional, `after`:
an earlier snapshot of it, or anything else, which stands for the start. Out: a model. So a loop
that carries `after` goes through all of them (`conf/pipeline/parts/snapshots.yaml`). The weights
are those of the training's folder under a further name, and take no further room on the disk.
"""

from dataclasses import dataclass
from pathlib import Path

from stages.guards.disk import errors_of_writing, link_or_copy
from stages.guards.errors import UserError
from stages.runtime.artifacts import MODEL, Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import check_files
from stages.runtime.models import Model
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Few

FOLDER = "snapshots"
"""In the artifact of a training: a model's folder for each, named by its training step."""


@dataclass(frozen=True)
class Config:
    """Which one."""

    number: Few = 1
    """Its place among those that come later than `after`, in the order of training."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Take the model out of the training's folder.

    Raises:
        UserError: the training keeps too few, or its folder is damaged or cannot be read.
    """
    training = inputs["model"]
    later = [
        step for step in kept_steps(training) if step > _step_of(inputs.get("after"), training)
    ]
    if len(later) < config.number:
        count = len(kept_steps(training))
        raise UserError(
            f"step {training.step!r} keeps {count} snapshots, and this one is not among them",
            where=f"step {context.step!r}",
            fix=f"set `snapshots` of step {training.step!r} to as many as are read",
        )
    step = later[config.number - 1]
    place = f"{FOLDER}/{step}/"
    check_files(training.directory, training.manifest, place, whole=True)
    with errors_of_writing(context.directory):
        for name in training.manifest.files or {}:
            if name.startswith(place):
                target = context.directory / MODEL / Path(name).relative_to(place)
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(training.directory / name, target)
    return Result(metrics={"training_step": step, "training": training.fingerprint})


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"after": Model},
    gives=Model,
)


def kept_steps(training: Artifact) -> list[int]:
    """Return the training steps of which a snapshot is kept, in order."""
    names = [Path(name).parts for name in training.manifest.files or {}]
    return sorted({int(parts[1]) for parts in names if parts[0] == FOLDER})


def _step_of(earlier: Artifact | None, training: Artifact) -> int:
    """Return the training step of a snapshot of this training; 0 for any other model."""
    if earlier is None or earlier.metrics.get("training") != training.fingerprint:
        return 0
    return int(earlier.metrics["training_step"])
