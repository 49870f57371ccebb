"""Scores for a batch of texts from a reward model: a prefix that several texts share is computed
once.

In: a network, and groups of texts as token ids. Out: a score a text. Where the texts of a group
differ only at their ends (one request and response under many principles), a decoder computes the
common prefix once and reads the rest after that cache: equal to the plain way up to rounding. Left
out: models with sliding windows or recurrent layers, and encoders, where every token sees the
principles; they are read the plain way.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from stages.training.batch_reading import batches, common_length, pad_rows

Text = tuple[int, ...]
Shared = tuple[int, list[Text]]
"""Texts with a common prefix, after its length."""
LEAST_SHARED = 16
"""Tokens; below it a second pass costs more than it saves."""


def score_groups(
    network: Any,
    groups: Sequence[list[Text]],
    size: int,
    share: bool = True,
    read: Callable[[Any], Any] = lambda logits: logits[:, 0],
) -> dict[Text, float]:
    """The score of every text; `size` of them at a time, the longest first.

    Args:
        read: makes the scores of a batch of its logits, shape (texts, outputs).
    """
    import torch

    pad = network.config.get_text_config().pad_token_id
    sharing = share and _can_share(network)
    alone: set[Text] = set()
    shared: list[Shared] = []
    for group in groups:
        length = _prefix_length(group, pad) if sharing and len(group) > 1 else 0
        if length >= LEAST_SHARED:
            shared.append((length, group))
        else:
            alone.update(group)
    scores: dict[Text, float] = {}
    with torch.inference_mode():
        for batch in batches(alone, len, size):
            ids, mask = pad_rows(batch, pad, network.device)
            logits = read(network(input_ids=ids, attention_mask=mask).logits)
            scores.update(zip(batch, logits.float().tolist(), strict=True))
        for groups_of_batch in _group_batches(shared, size):
            scores.update(_score_behind_prefix(network, groups_of_batch, pad, size, read))
    return scores


def _can_share(network: Any) -> bool:
    """Causal attention over the whole text, and the generic head that reads the last token."""
    from transformers.modeling_layers import GenericForSequenceClassification

    config = network.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = None
    if getattr(config, "use_sliding_window", True):
        window = getattr(config, "sliding_window", None)
    generic = isinstance(network, GenericForSequenceClassification)
    return generic and layers == {"full_attention"} and not window


def _prefix_length(group: list[Text], pad: int) -> int:
    """Tokens that all texts of a group begin with; each keeps at least one of its own that is not
    padding.
    """
    return min(common_length(group), *(_last_real(text, pad) for text in group))


def _last_real(text: Text, pad: int) -> int:
    """The place of the last token that is not padding."""
    return max((place for place, token in enumerate(text) if token != pad), default=0)


def _group_batches(shared: list[Shared], size: int) -> list[list[Shared]]:
    """Groups with prefixes of like length, about `size` texts at a time."""
    grouped: list[list[Shared]] = []
    room = 0
    for length, group in sorted(shared, key=lambda entry: entry[0], reverse=True):
        if not grouped or len(group) > room:
            grouped.append([])
            room = size
        grouped[-1].append((length, group))
        room -= len(group)
    return grouped


def _score_behind_prefix(
    network: Any, groups: list[Shared], pad: int, size: int, read: Callable[[Any], Any]
) -> Iterator[tuple[Text, float]]:
    """Prefixes once, then every text's own tokens behind its group's prefix."""
    import torch

    device = network.device
    prefixes = [group[0][:length] for length, group in groups]
    ids, mask = pad_rows(prefixes, pad, device)
    prefix = network.base_model(input_ids=ids, attention_mask=mask, use_cache=True).past_key_values
    for batch in batches(_members(groups), lambda member: len(member[2]) - member[1], size):
        places = torch.tensor([place for place, _, _ in batch], device=device)
        starts = torch.tensor([length for _, length, _ in batch], device=device)
        rest, rest_mask = pad_rows([text[length:] for _, length, text in batch], pad, device)
        logits = network(
            input_ids=rest,
            attention_mask=torch.cat([mask[places], rest_mask], dim=1),
            position_ids=starts[:, None] + torch.arange(rest.shape[1], device=device)[None],
            past_key_values=_select(prefix, places),
            use_cache=True,
        ).logits
        yield from zip((text for _, _, text in batch), read(logits).float().tolist(), strict=True)


def _members(groups: list[Shared]) -> Iterable[tuple[int, int, Text]]:
    """Every text with the place of its group and the length of its prefix."""
    for place, (length, group) in enumerate(groups):
        for text in group:
            yield place, length, text


def _select(prefix: Any, places: Any) -> Any:
    """The cache of the prefixes at `places`."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for index, layer in enumerate(prefix.layers):
        cache.update(layer.keys[places], layer.values[places], index)
    return cache
