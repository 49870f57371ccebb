"""A training stage that, besides, writes a hash of the weights that each rank ends with; which
stage, the environment says.
"""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

from stages.runtime.stage import load_stage
from stages.training import frame

LOCATION, FOLDER = "CREDO_TEST_STAGE", "CREDO_TEST_WEIGHTS"
inner = load_stage(os.environ[LOCATION])


def run(config, inputs, context):
    finish = frame.finish

    def weighing(trained, *rest):
        networks = [trained.model, *getattr(trained, "value_models", {}).values()]
        hashes = [content(trained.accelerator.unwrap_model(network)) for network in networks]
        Path(os.environ[FOLDER], f"weights-{os.environ['RANK']}.json").write_text(
            json.dumps(hashes)
        )
        finish(trained, *rest)

    frame.finish = weighing
    return inner.run(config, inputs, context)


STAGE = replace(inner, run=run)


def content(network) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
