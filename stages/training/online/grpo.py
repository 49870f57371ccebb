"""Stage `grpo`: group-relative policy optimisation, through TRL (Shao et al. 2024, arXiv
2402.03300).

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
    """`args` are fields of TRL's GRPOConfig."""

    stage = "grpo"
    trainer_options = "GRPOConfig"


def identity(config: Config) -> dict[str, Any]:
    return online.online_identity(config)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Train and save the model.

    Raises:
        UserError: unusable options, terms or models, a reward that is no number or never differs,
        no prompts, memory or disk used up, a diverged loss.
    """

    def make(**given: Any) -> Any:
        from trl import GRPOTrainer

        from stages.training.online.watching import Resumable

        return type("ResumableGRPOTrainer", (Resumable, GRPOTrainer), {})(**given)

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
