"""TRL's SFT trainer for Chain of Hindsight: forgetful causal masking, and whether the phrase steers
the model.

In: conversations whose completion holds two answers (`chain_of_hindsight.py`). Out: TRL's
SFTTrainer otherwise. Each conversation of a batch draws a share, and each position of it draws by
that share which earlier tokens are hidden from it, the same ones in all layers. The first token and
the position itself stay visible, so that every position sees something. All is drawn from torch's
own state, as dropout is, so a resumed training draws the same. Left out: layers without attention,
which forget nothing. Imported only when something is trained: torch and TRL come with it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, and_masks
from trl import SFTTrainer

from stages.guards.errors import UserError
from stages.training.frame import Examples
from stages.training.held_out import HeldOut


def draw_visible(texts: int, queries: int, keys: int, most: float, device: Any) -> torch.Tensor:
    """Which keys each query of each text sees.

    Args:
        most: the largest share of hidden keys; each text draws its own, uniform in [0, most].

    Returns:
        A tensor of booleans, shape (texts, queries, keys). The queries are the last keys.

    Source:
        Liu et al. 2022 (Forgetful Causal Masking, arXiv 2210.13432); Liu et al. 2023 (Chain of
        Hindsight, arXiv 2302.02676), with 0 to 5 %.
    """
    shares = most * torch.rand(texts, 1, 1, device=device)
    visible = torch.rand(texts, queries, keys, device=device) >= shares
    visible[:, :, 0] = True
    itself = torch.eye(queries, dtype=torch.bool, device=device)
    visible[:, :, keys - queries :] |= itself
    return visible


class Forgetful:
    """A mask function of transformers, which hides some keys besides those that it hides itself."""

    def __init__(self, inner: Callable[..., Any], most: float):
        self.inner = inner
        self.most = most
        self.visible: torch.Tensor | None = None
        """Drawn once; layers with and without a sliding window share it."""

    def __call__(self, *args: Any, mask_function: Callable[..., Any], **options: Any) -> Any:
        texts, queries, keys = (options[name] for name in ("batch_size", "q_length", "kv_length"))
        if self.visible is None:
            device = options.get("device", "cpu")
            self.visible = draw_visible(texts, queries, keys, self.most, device)
        visible = self.visible
        first_query, first_key = options.get("q_offset", 0), options.get("kv_offset", 0)

        def is_visible(text: Any, head: Any, query: Any, key: Any) -> Any:
            return visible[text, query - first_query, key - first_key]

        # Without a mask of its own, the attention would only be causal.
        options["allow_is_causal_skip"] = False
        both = and_masks(mask_function, is_visible)
        return self.inner(*args, mask_function=both, **options)


@contextmanager
def forgetting(model: Any, most: float) -> Iterator[None]:
    """Hide past tokens in the one forward pass of the block.

    Raises:
        UserError: the model makes its masks in another way.
    """
    attention = model.config.get_text_config()._attn_implementation
    inner = ALL_MASK_ATTENTION_FUNCTIONS.get(attention)
    if inner is None:
        raise _cannot_forget(attention)
    forgetful = Forgetful(inner, most)
    ALL_MASK_ATTENTION_FUNCTIONS[attention] = forgetful
    try:
        yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS[attention]
    if forgetful.visible is None:
        raise _cannot_forget(type(model).__name__)


def _cannot_forget(name: str) -> UserError:
    return UserError(
        f"single tokens cannot be hidden from {name}: it does not use transformers' mask functions",
        where="stage 'chain_of_hindsight'",
        fix="set forget: 0, or use another model or attn_implementation",
    )


class HindsightTrainer(SFTTrainer):
    """SFTTrainer that hides past tokens in training, with held-out contrasts.

    Args:
        forget: the largest share of past tokens that a position does not see.
        contrasts: held-out rows, for each pair the chosen and the rejected answer to the
            better-phrase, then to the worse.
    """

    def __init__(self, *args: Any, forget: float, contrasts: Examples, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.forget = forget
        self.contrasts = contrasts
        # Not for the Trainer's own evaluation, which cannot use them.
        self.eval_dataset = contrasts

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if not (self.forget and self.model.training):
            return super().compute_loss(model, inputs, *args, **kwargs)
        with forgetting(self.model, self.forget):
            return super().compute_loss(model, inputs, *args, **kwargs)

    @torch.no_grad()
    def evaluate_held_out(self) -> HeldOut:
        """How far the better-phrase moves log pi(chosen) - log pi(rejected) from where the
        worse-phrase has it.
        """
        sums = HeldOut()
        self.model.eval()
        size = 4 * max(1, self.args.per_device_eval_batch_size // 4)
        for start in range(0, len(self.contrasts), size):
            logps = self._logps(self.contrasts[start : start + size]).view(-1, 4)
            gains = (logps[:, 0] - logps[:, 1]) - (logps[:, 2] - logps[:, 3])
            for gain in gains.tolist():
                sums.add(1, float(gain > 0), gain)
        return sums

    def _logps(self, rows: Examples) -> torch.Tensor:
        """log pi(answer) of every row, shape (rows,)."""
        batch = self._prepare_inputs(self.data_collator(rows))
        with self.accelerator.autocast():
            return self.model(**batch, fused_lm_head=True).log_probs.float().sum(1)
