"""A stage that trains the cases of `test_processes.py` one after the other, so that ranks start
once for all of them, and writes a hash of the weights that each rank ends with.
"""

import hashlib
import json
import os
from dataclasses import dataclass, replace

from stages.runtime.artifacts import Result
from stages.runtime.stage import Stage
from stages.training import frame


@dataclass(frozen=True)
class Config:
    """It has no options: the cases are those of the tests."""


def run(config, inputs, context):
    from tests.training.test_processes import CASES

    metrics = {}
    for name, case in CASES.items():
        folder = context.directory / name
        folder.mkdir(exist_ok=True)
        own = replace(context, step=name, directory=folder)
        metrics[name] = run_weighing(case, inputs, own).metrics
    return Result(metrics=metrics)


def run_weighing(case, inputs, context):
    finish = frame.finish

    def weighing(trained, *rest):
        networks = [trained.model, *getattr(trained, "value_models", {}).values()]
        hashes = [content(trained.accelerator.unwrap_model(network)) for network in networks]
        file = context.directory / f"weights-{os.environ['RANK']}.json"
        file.write_text(json.dumps(hashes))
        finish(trained, *rest)

    frame.finish = weighing
    try:
        return case.stage.run(case.config, case.inputs(inputs), context)
    finally:
        frame.finish = finish


STAGE = Stage(version=1, config=Config, run=run)


def content(network) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
