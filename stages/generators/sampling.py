"""Drawing texts from a transformers model, row by row reproducible. Needs torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stages.generators import Completion
from stages.generators.rendering import Renderer

if TYPE_CHECKING:
    import torch

    from stages.generators.transformers import Request


def score(network: Any, renderer: Renderer, batch: Sequence["Request"]) -> list[list[float]]:
    """Log-probability (nats) of each request's options, normalised over them, in one forward pass."""
    import torch

    with torch.inference_mode():
        ids, mask = pad([request.prompt for request in batch], network.device)
        output = network(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions(mask),
            logits_to_keep=1,
            use_cache=False,
        )
        logits = output.logits[:, -1].double().cpu()
        return [
            torch.log_softmax(row[request.options], -1).tolist()
            for row, request in zip(logits, batch, strict=True)
        ]


def sample(network: Any, renderer: Renderer, batch: Sequence["Request"]) -> list[Completion]:
    """Write every request's text. Rows that have ended leave the batch once they are half of it."""
    import torch

    device, tokenizer, stops = (
        network.device,
        renderer.tokenizer,
        end_tokens(network, renderer.tokenizer),
    )
    room = [
        min(request.sampling.max_tokens, renderer.limit - len(request.prompt)) for request in batch
    ]
    numbers = torch.ones(len(batch), max(room), dtype=torch.float64)
    for row, request in enumerate(batch):
        own = torch.Generator().manual_seed(request.seed % 2**63)
        numbers[row, : room[row]] = torch.rand(room[row], generator=own, dtype=torch.float64)
    numbers = numbers.to(device)
    heat = torch.tensor([request.sampling.temperature for request in batch], device=device)
    nucleus = torch.tensor([request.sampling.top_p for request in batch], device=device)

    written: list[list[int]] = [[] for _ in batch]
    reasons = ["length"] * len(batch)
    rows, alive = list(range(len(batch))), set(range(len(batch)))
    with torch.inference_mode():
        ids, mask = pad([request.prompt for request in batch], device)
        place, cache = positions(mask), None
        for step in range(max(room)):
            output = network(
                input_ids=ids,
                attention_mask=mask,
                position_ids=place,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = output.past_key_values
            index = torch.tensor(rows, device=device)
            drawn = draw(
                output.logits[:, -1].float(), heat[index], nucleus[index], numbers[index, step]
            )
            for row, token in zip(rows, drawn.tolist(), strict=True):
                if row not in alive:
                    continue
                written[row].append(token)
                if token in stops or ends(written[row], batch[row].sampling.stop, tokenizer):
                    reasons[row] = "stop"
                    alive.discard(row)
                elif len(written[row]) >= room[row]:
                    alive.discard(row)
            if not alive:
                break
            ids, place = drawn[:, None], place[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            if 2 * len(alive) <= len(rows):
                keep = torch.tensor(
                    [at for at, row in enumerate(rows) if row in alive], device=device
                )
                cache.batch_select_indices(keep)
                ids, place, mask, rows = (
                    ids[keep],
                    place[keep],
                    mask[keep],
                    [row for row in rows if row in alive],
                )
    return [
        Completion(
            cut(renderer.text(tokens), request.sampling.stop),
            reason,
            len(request.prompt),
            len(tokens),
        )
        for tokens, reason, request in zip(written, reasons, batch, strict=True)
    ]


def draw(
    logits: "torch.Tensor", heat: "torch.Tensor", nucleus: "torch.Tensor", numbers: "torch.Tensor"
) -> "torch.Tensor":
    """One token a row: where the cumulative probability passes the row's number; the likeliest at
    temperature 0.
    """
    import torch

    best = logits.argmax(-1)
    if bool((heat == 0).all()):
        return best
    chances = torch.softmax(logits.double() / heat.clamp_min(1e-6).double()[:, None], -1)
    if bool((nucleus < 1).any()):
        ordered, order = chances.sort(-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.masked_fill((before >= nucleus[:, None]) & (nucleus[:, None] < 1), 0.0)
        chances = torch.zeros_like(chances).scatter(-1, order, ordered)
    total = chances.cumsum(-1)
    found = torch.searchsorted(total, (numbers * total[:, -1])[:, None], right=True)[
        :, 0
    ].clamp_max(logits.shape[-1] - 1)
    return torch.where(heat == 0, best, found)


def pad(prompts: Sequence[list[int]], device: Any) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Token ids padded on the left, and the mask of real tokens."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor(
        [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device
    )
    return ids, mask


def positions(mask: "torch.Tensor") -> "torch.Tensor":
    """Positions that count real tokens only."""
    return (mask.cumsum(-1) - 1).clamp_min(0)


def end_tokens(network: Any, tokenizer: Any) -> set[int]:
    """Tokens after which a turn is over, by the model's generation config and the tokenizer."""
    own = network.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return {token for token in [*listed, tokenizer.eos_token_id] if token is not None}


def ends(tokens: list[int], stop: tuple[str, ...], tokenizer: Any) -> bool:
    """Whether the newest tokens complete a stop string."""
    if not stop:
        return False
    tail = tokenizer.decode(tokens[-(max(map(len, stop)) + 8) :], skip_special_tokens=True)
    return any(words in tail for words in stop)


def cut(text: str, stop: tuple[str, ...]) -> str:
    """The text before the first stop string."""
    return text[
        : min((at for at in (text.find(words) for words in stop) if at >= 0), default=len(text))
    ]
