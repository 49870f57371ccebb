"""A tiny reward model on disk, random unless its head is set, and a constitution for it."""

from pathlib import Path

from stages.runtime.models import Model, find_model
from stages.training.reward_models.format import make_format, write_format

SET = """name: tiny-set
principles:
  - {id: kind, text: The answer is kind., opposite: The answer is harsh.}
  - {id: short, text: The answer is short., opposite: The answer is long., weight: 3}
  - {id: plain, text: The answer is plain.}
"""


def constitution(folder: Path) -> dict[str, str]:
    (folder / "set.yaml").write_text(SET)
    return {"name": str(folder / "set.yaml")}


def reward_model(
    base: Path,
    folder: Path,
    *,
    principles: bool = True,
    objective: str = "preference",
    head: float | None = None,
) -> Model:
    """The base model with one output; `head` fills the output layer with one number."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(3)
    network = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=1, dtype=torch.float32
    )
    if head is not None:
        torch.nn.init.constant_(network.score.weight, head)
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    write_format(folder, make_format(objective, principles, None))
    return find_model(str(folder))
