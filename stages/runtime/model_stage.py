"""Stage `model`: a model that is already there, on disk or on the Hub.

In: nothing. Out: an artifact that points at the model. Its identity is the model's content, so
moving the folder changes nothing and replacing the weights changes everything that follows.
"""

from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import find_model
from stages.runtime.stage import Stage


@dataclass(frozen=True)
class Config:
    path: str
    revision: str | None = None


def identity(config: Config) -> dict[str, Any]:
    return {"path": None, "content": find_model(config.path, config.revision).content}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    model = find_model(config.path, config.revision)
    return Result(
        metrics={"model_path": model.path, "revision": model.revision, "content": model.content}
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    reusable=False,  # the artifact holds a path; the model may have moved since
    identity=identity,
)
