"""How a batch of texts goes through a reward model: those that begin alike pay for their beginning
once.

In: a network, and groups of texts as token ids. Out: a score a text. Where the texts of a group
differ at their ends alone (one request and response under many principles), a decoder computes the
common prefix once and reads the rest behind that
cache: equal to the plain way up to rounding. Left out: models with sliding windows or recurrent
    layers, and encoders, where
every token sees the principles; they are read the plain way.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

Text = tuple[int, ...]
LEAST_SHARED = 16  # tokens; below it a second pass costs more than it saves


def score_groups(
    network: Any, groups: Sequence[list[Text]], size: int, share: bool = True
) -> dict[Text, float]:
    """The score of every text; `size` of them at a time, the longest first."""
    import torch

    pad = network.config.get_text_config().pad_token_id
    found: dict[Text, float] = {}
    alone: set[Text] = set()
    shared: list[tuple[int, list[Text]]] = []
    sharing = share and _may_share(network)
    for group in groups:
        length = _common(group, pad) if sharing and len(group) > 1 else 0
        if length >= LEAST_SHARED:
            shared.append((length, group))
        else:
            alone.update(group)
    with torch.inference_mode():
        for batch in _batches(sorted(alone, key=len, reverse=True), size):
            found.update(zip(batch, _plain(network, batch, pad), strict=True))
        shared.sort(key=lambda entry: entry[0], reverse=True)
        for groups_of_batch in _group_batches(shared, size):
            found.update(_behind_prefix(network, groups_of_batch, pad, size))
    return found


def _may_share(network: Any) -> bool:
    """Causal attention over the whole text, and the generic head that reads the last token."""
    from transformers.modeling_layers import GenericForSequenceClassification

    config = network.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = (
        getattr(config, "sliding_window", None)
        if getattr(config, "use_sliding_window", True)
        else None
    )
    return (
        isinstance(network, GenericForSequenceClassification)
        and layers == {"full_attention"}
        and not window
    )


def _common(group: list[Text], pad: int) -> int:
    """Tokens that all texts of a group begin with; each keeps at least one of its own that is no
    padding.
    """
    length = sum(
        1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*group, strict=False))
    )
    last = min(max((i for i, token in enumerate(ids) if token != pad), default=0) for ids in group)
    return min(length, last)


def _batches(texts: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(texts[start : start + size]) for start in range(0, len(texts), size)]


def _group_batches(
    shared: list[tuple[int, list[Any]]], size: int
) -> list[list[tuple[int, list[Any]]]]:
    """Groups with prefixes of like length, as many at a time as have about `size` texts together."""
    batches: list[list[tuple[int, list[Any]]]] = []
    room = 0
    for entry in shared:
        if not batches or len(entry[1]) > room:
            batches.append([])
            room = size
        batches[-1].append(entry)
        room -= len(entry[1])
    return batches


def _padded(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Any, Any]:
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask


def _plain(network: Any, batch: Sequence[Sequence[int]], pad: int) -> list[float]:
    ids, mask = _padded(batch, pad, network.device)
    return network(input_ids=ids, attention_mask=mask).logits[:, 0].float().tolist()


def _behind_prefix(
    network: Any, groups: list[tuple[int, list[Text]]], pad: int, size: int
) -> list[tuple[Text, float]]:
    """Prefixes once, then every text's own tokens behind its group's prefix."""
    import torch
    from transformers import DynamicCache

    device = network.device
    ids, mask = _padded([group[0][:length] for length, group in groups], pad, device)
    prefix = network.base_model(input_ids=ids, attention_mask=mask, use_cache=True).past_key_values
    members = [
        (place, length, text) for place, (length, group) in enumerate(groups) for text in group
    ]
    found = []
    for batch in _batches(sorted(members, key=lambda m: len(m[2]) - m[1], reverse=True), size):
        places = torch.tensor([place for place, _, _ in batch], device=device)
        cache = DynamicCache()
        for index, layer in enumerate(prefix.layers):
            cache.update(layer.keys[places], layer.values[places], index)
        rest, rest_mask = _padded([text[length:] for _, length, text in batch], pad, device)
        starts = torch.tensor([length for _, length, _ in batch], device=device)
        positions = starts[:, None] + torch.arange(rest.shape[1], device=device)[None]
        scores = network(
            input_ids=rest,
            attention_mask=torch.cat([mask[places], rest_mask], dim=1),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).logits[:, 0]
        found += list(zip((text for _, _, text in batch), scores.float().tolist(), strict=True))
    return found
