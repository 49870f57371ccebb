"""A stage that uses a key, and a library that prints it; for `test_launch_log`."""

import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.stage import Stage


@dataclass(frozen=True)
class Config:
    args: dict[str, Any] = field(default_factory=dict)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Return how long the key is that arrived."""
    key = config.args["hub_token"]
    sys.stderr.write(f"a library prints {key}\n")
    if config.args.get("fails"):
        raise ValueError(f"the hub refuses {key}")
    if config.args.get("refuses"):
        if os.environ.get("RANK") == "0":
            time.sleep(600)  # it waits for the other rank, as in training
        try:
            {}["layer"]
        except KeyError as error:
            raise UserError("no such layer") from error
    rank = int(os.environ.get("RANK", "0"))
    context.tally.sent = 1 + 2 * rank
    context.tally.failed = rank
    context.tally.masses, context.tally.longest = [0.5], 7 * (1 - rank)
    extra = context.engines.options["extra"]
    metrics = {"letters": len(key), "same": extra["api_key"] == key}
    return Result(metrics=metrics | {"inherited": "CREDO_SECRETS" in os.environ})


STAGE = Stage(version=1, config=Config, run=run)
