"""Fixed batches of each kind of lesson, for the training log and the gates between stages."""

import random
from dataclasses import replace

import torch
from transformers import PreTrainedTokenizerFast

from stages.world.pretraining.curriculum import BASICS, EVERYTHING, JUDGING
from stages.world.pretraining.lessons.plan import Curriculum
from stages.world.pretraining.model import Body
from stages.world.pretraining.packing import Batch, make_batch
from stages.world.pretraining.parallel import Workers, predict

LABEL_KINDS = ("verdict", "judge", "value")
LEAST_LABEL_WEIGHT = 1.9
"""Only the first token of a label weighs more."""
LEAST_ANSWER_WEIGHT = 0.9
"""Only the tokens of an answer weigh more."""


class Examiner:
    """Measures a body on batches that stay the same during a training."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, length: int) -> None:
        def batch(kind: str, basis: Curriculum = EVERYTHING, split: str = "seen") -> Batch:
            plan = replace(basis, shares={kind: 1.0}, split=split, nonsense=0.0)
            rows = 10 if kind in ("verdict", "judge") else 3
            return make_batch(random.Random(f"exam-{kind}-{split}"), tokenizer, plan, rows, length)

        self.batches = {kind: batch(kind) for kind in EVERYTHING.shares}
        for kind in ("copy", "fix"):
            self.batches[f"{kind}_held_out"] = batch(kind, split="held_out")
        self.batches["verdict_plain"] = batch("verdict", BASICS)
        self.batches["judge_plain"] = batch("judge", replace(JUDGING, naming=0.0))

    def examine(self, workers: Workers, body: Body) -> dict[str, float]:
        """Accuracy on labels; for the other kinds the fraction of right answer tokens."""

        @torch.no_grad()
        def score(name: str) -> float:
            is_label = name.split("_")[0] in LABEL_KINDS
            least_weight = LEAST_LABEL_WEIGHT if is_label else LEAST_ANSWER_WEIGHT
            logits, targets, _ = predict(body, self.batches[name], slice(None), least_weight)
            is_right = logits.argmax(-1) == targets
            return round(is_right.float().mean().item(), 3)

        return dict(zip(self.batches, workers.map(score, self.batches), strict=True))
