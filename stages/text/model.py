"""Stage `model`: a model that is already there, on disk or on the Hub.

In: nothing. Out: an artifact that points at the model. Its identity is the model's content, so
moving the folder changes nothing and replacing the weights changes everything that follows.
"""

from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model, find_model
from stages.runtime.stage import Stage


@dataclass(frozen=True)
class Config:
    path: str
    """A folder, or a Hub id `owner/name`."""
    revision: str | None = None
    """A Hub commit; null: the newest."""


def identity(config: Config) -> dict[str, Any]:
    """The model's content, in place of its path."""
    model = find_model(config.path, config.revision)
    return {"path": None, "content": model.content}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Point at the model.

    Raises:
        UserError: there is no such model.
    """
    model = find_model(config.path, config.revision)
    metrics = {"model_path": model.path, "revision": model.revision, "content": model.content}
    return Result(metrics=metrics)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    gives=Model,
    reusable=False,  # the artifact holds a path; the model may have moved since
    identity=identity,
)
