"""Stage `rloo`: REINFORCE with a leave-one-out baseline, through TRL (Ahmadian et al. 2024, arXiv
2402.14740).

In: `model`, `prompts` and other Prompt rows, and the models that the reward's terms name. Out: a
model. See `online.py` for what the online stages share, `rewards.py` for the reward.
"""

from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.stage import Stage
from stages.training.online import rollouts as online


@dataclass(frozen=True, kw_only=True)
class Config(online.OnlineConfig):
    """`args` are fields of TRL's RLOOConfig."""

    stage = "rloo"
    trainer_options = "RLOOConfig"


def identity(config: Config) -> dict[str, Any]:
    return online.online_identity(config)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: unusable options, terms or models, a reward that is no number or never differs,
        no prompts, memory or disk used up, a diverged loss.
    """

    def make(**given: Any) -> Any:
        from trl import RLOOTrainer

        from stages.training.online.watching import Resumable

        return type("ResumableRLOOTrainer", (Resumable, RLOOTrainer), {})(**given)

    return online.run_online(config, inputs, context, make)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs=online.NEEDS,
    optional=online.ALSO_TAKES,
    trains=True,
    identity=identity,
)
