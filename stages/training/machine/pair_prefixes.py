"""Two texts that begin alike are read once as far as they do: the prompt of a pair's two sides.

In: a causal transformer and batches whose first half holds the one texts, whose second half the
others in the same order, as TRL's DPO and reward trainers collate them. Out: the same hidden states
up to rounding, of fewer tokens: a row is the common prefix, then the rest of the first text, then
the rest of the second, which counts its positions from the prefix and does not see the first.
Everything above the transformer, heads, losses, adapters, stays as it is. Left out: networks for
which a trial shows other states (encoders, windows, recurrent layers, positions that no
`position_ids` change), and attention other than SDPA, which takes no such mask.

Imported only when something is trained: torch comes with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

TOLERANCE = 1e-3
"""Between hidden states of the trial, as a part of the largest one."""
TRIAL = ((1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 8, 7, 6))
"""Token ids of two texts that begin alike."""

REFUSED = (
    "position_ids",
    "past_key_values",
    "inputs_embeds",
    "use_cache",
    "output_hidden_states",
    "output_attentions",
    "output_router_logits",
)
"""Options with which a network reads in its own way."""


@dataclass(frozen=True)
class PackedPairs:
    """Pairs of texts, each in one row."""

    ids: torch.Tensor
    """Shape (pairs, places)."""
    positions: torch.Tensor
    """Of the same shape."""
    mask: torch.Tensor
    """Which place (third) each place (second) sees: shape (pairs, 1, places, places)."""
    first: torch.Tensor
    """The place of each token of the first texts, shape (pairs, tokens)."""
    second: torch.Tensor
    """The same of the second ones."""

    def unpack(self, states: torch.Tensor) -> torch.Tensor:
        """States of the texts, shape (2 x pairs, tokens, width), from those of the rows."""
        rows = torch.arange(len(states), device=states.device)[:, None]
        return torch.cat([states[rows, self.first], states[rows, self.second]])


def pack(ids: torch.Tensor, mask: torch.Tensor) -> PackedPairs:
    """Put both texts of each pair into one row.

    Args:
        ids, mask: of texts padded on the right, shape (2 x pairs, tokens).
    """
    one, other = ids.chunk(2)
    length, other_length = mask.sum(dim=1, keepdim=True).chunk(2)
    is_text, is_other_text = mask.bool().chunk(2)
    is_equal = (one == other) & is_text & is_other_text
    is_shared = is_equal.long().cumprod(dim=1)
    shared = is_shared.sum(dim=1, keepdim=True)
    total = length + other_length - shared
    place = torch.arange(int(total.max()), device=ids.device)[None]
    token = torch.arange(ids.shape[1], device=ids.device)[None]
    is_first = place < length
    is_real = place < total
    positions = torch.where(is_first, place, place - length + shared)
    positions = torch.where(is_real, positions, 0)
    within = positions.clamp(max=ids.shape[1] - 1)
    # A place sees the places before it, but not the rest of the first text from the second.
    is_rest_of_first = is_first & (place >= shared)
    is_of_second = ~is_first
    is_hidden = is_of_second[:, :, None] & is_rest_of_first[:, None, :]
    is_before = (place <= place.T)[None]
    is_self = (place == place.T)[None]
    may_see = is_before & ~is_hidden & is_real[:, None, :]
    sees = may_see | is_self
    last = total - 1
    first = token.expand_as(one)
    second = torch.where(token < shared, token, token - shared + length)
    return PackedPairs(
        ids=torch.where(is_first, one.gather(1, within), other.gather(1, within)),
        positions=positions,
        mask=sees[:, None],
        first=torch.minimum(first, last),
        second=torch.minimum(second, last),
    )


def share_prefixes(network: Any) -> bool:
    """Have a network read the common beginnings of pairs once; return whether it can.

    Args:
        network: with a head, from transformers.
    """
    inner = network.base_model
    config = network.config.get_text_config()
    plain = inner.forward
    if getattr(config, "_attn_implementation", "") != "sdpa":
        return False
    if getattr(config, "output_router_logits", False):  # they are counted by token
        return False
    shared = _shared_forward(plain)
    if not _is_equal(inner, plain, shared, config.vocab_size):
        return False
    inner.forward = shared
    return True


def _shared_forward(plain: Callable[..., Any]) -> Callable[..., Any]:
    def forward(
        input_ids: Any = None, attention_mask: Any = None, *others: Any, **options: Any
    ) -> Any:
        if others or not _is_paired(input_ids, attention_mask, options):
            return plain(input_ids, attention_mask, *others, **options)
        pairs = pack(input_ids, attention_mask)
        options |= {"position_ids": pairs.positions, "use_cache": False}
        outputs = plain(pairs.ids, attention_mask=pairs.mask, **options)
        outputs.last_hidden_state = pairs.unpack(outputs.last_hidden_state)
        return outputs

    return forward


def _is_paired(ids: Any, mask: Any, options: dict[str, Any]) -> bool:
    """Whether a batch is one of whole texts, padded on the right, whose halves can be paired."""
    return (
        ids is not None
        and mask is not None
        and mask.dim() == 2
        and len(ids) % 2 == 0
        and not any(
            options.get(name) is not None and options[name] is not False for name in REFUSED
        )
        and bool(mask[:, 0].all())
        and bool((mask.diff(dim=1) <= 0).all())
    )


@torch.no_grad()
def _is_equal(inner: Any, plain: Any, shared: Any, words: int) -> bool:
    """Whether both ways give the same states of two texts of unequal lengths."""
    ids = torch.tensor(TRIAL, device=inner.device) % words
    mask = torch.ones_like(ids)
    mask[0, -1] = 0
    is_training = inner.training
    inner.eval()
    try:
        states = [
            run(ids, attention_mask=mask, use_cache=False).last_hidden_state.float()
            for run in (plain, shared)
        ]
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        return False
    finally:
        inner.train(is_training)
    expected, packed = (state[mask.bool()] for state in states)
    largest = expected.abs().max()
    error = (expected - packed).abs().max()
    tolerance = TOLERANCE if inner.dtype == torch.float32 else 30 * TOLERANCE
    return bool((error <= tolerance * largest).item())
