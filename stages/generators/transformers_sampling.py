"""Drawing texts from a transformers model, row by row reproducible. Needs torch."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stages.generators.rendering import Renderer
from stages.generators.transformers_decoding import Decoder, positions
from stages.runtime.generation import CallFailed, Choice, Completion, Sampling

if TYPE_CHECKING:
    import torch


NUCLEUS_SORTED = 512
"""The likeliest tokens that are looked at first where `top_p` limits a draw."""


@dataclass
class Request:
    """One call in the queue."""

    prompt: list[int]
    """Token ids."""
    sampling: Sampling
    seed: int
    options: list[int]
    """Token ids to choose from; empty: a text is to be written."""
    answer: asyncio.Future[Any]
    prefix: str = ""
    """The text that is to be continued; the prompt ends with it."""


@dataclass
class Text:
    """A text while it is written."""

    room: int
    """The most tokens it may have."""
    tokens: list[int] = field(default_factory=list)
    finish_reason: str = "length"
    is_open: bool = True
    is_broken: bool = False
    """The model gave no finite numbers."""

    def add(self, token: int, end_tokens: set[int], stop: Sequence[str], tokenizer: Any) -> None:
        """Append a token, and close the text if it is complete."""
        self.tokens.append(token)
        if token in end_tokens or completes_stop(self.tokens, stop, tokenizer):
            self.finish_reason = "stop"
            self.is_open = False
        elif len(self.tokens) >= self.room:
            self.is_open = False


def broken_model() -> CallFailed:
    """Return the failure of a call to a model whose numbers cannot be used."""
    return CallFailed(
        "the model's numbers are not finite",
        "its weights may be damaged, or too large for its dtype (generator.options.dtype)",
    )


def score(network: Any, renderer: Renderer, batch: Sequence[Request]) -> list[Choice | CallFailed]:
    """Score each request's options in one forward pass; a failure stands where it is one row's."""
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
        choices: list[Choice | CallFailed] = []
        for row, request in zip(logits, batch, strict=True):
            likeliest = int(row.argmax())
            if not row[[likeliest, *request.options]].isfinite().all():
                choices.append(broken_model())
                continue
            is_option = likeliest in request.options
            choice = Choice(
                logprobs=torch.log_softmax(row[request.options], -1).tolist(),
                mass=min(float(torch.softmax(row, -1)[request.options].sum()), 1.0),
                instead="" if is_option else renderer.tokenizer.decode([likeliest]),
            )
            choices.append(choice)
        return choices


def sample(
    decoder: Decoder, renderer: Renderer, batch: Sequence[Request]
) -> list[Completion | CallFailed]:
    """Write every request's text; a failure stands where it is one row's.

    Finished rows are removed once they are half of the batch.
    """
    import torch

    device = decoder.network.device
    tokenizer = renderer.tokenizer
    end_tokens = renderer.stop_tokens
    rooms = [
        min(request.sampling.max_tokens, renderer.limit - len(request.prompt)) for request in batch
    ]
    numbers = random_numbers(batch, rooms).to(device)
    temperature = torch.tensor([request.sampling.temperature for request in batch], device=device)
    top_p = torch.tensor([request.sampling.top_p for request in batch], device=device)

    texts = [Text(room) for room in rooms]
    rows = list(range(len(batch)))  # those in the batch
    last = max(rooms) - 1
    with torch.inference_mode():
        ids, mask = pad([request.prompt for request in batch], device)
        logits = decoder.read(ids, mask, last)
        for step in range(last + 1):
            index = torch.tensor(rows, device=device)
            drawn = draw(logits, temperature[index], top_p[index], numbers[index, step])
            sound = logits.amax(-1).isfinite().tolist()  # one nan, or inf, is the largest
            for row, token, is_sound in zip(rows, drawn.tolist(), sound, strict=True):
                if not is_sound and texts[row].is_open:
                    texts[row].is_broken, texts[row].is_open = True, False
                elif texts[row].is_open:
                    texts[row].add(token, end_tokens, batch[row].sampling.stop, tokenizer)
            open_places = [at for at, row in enumerate(rows) if texts[row].is_open]
            if not open_places:
                break
            if 2 * len(open_places) <= len(rows):
                remaining = torch.tensor(open_places, device=device)
                decoder.keep(remaining)
                drawn = drawn[remaining]
                rows = [rows[at] for at in open_places]
            logits = decoder.step(drawn)
    return [
        broken_model()
        if text.is_broken
        else Completion(
            text=renderer.opening(request.prefix)
            + cut(
                renderer.continuation(text.tokens, request.prompt, request.prefix),
                request.sampling.stop,
            ),
            finish_reason=text.finish_reason,
            prompt_tokens=len(request.prompt),
            completion_tokens=len(text.tokens),
        )
        for text, request in zip(texts, batch, strict=True)
    ]


def random_numbers(batch: Sequence[Request], rooms: Sequence[int]) -> "torch.Tensor":
    """Draw each request's numbers in [0, 1) from its own seed, one for each token it may write."""
    import torch

    numbers = torch.ones(len(batch), max(rooms), dtype=torch.float64)
    for row, (request, room) in enumerate(zip(batch, rooms, strict=True)):
        generator = torch.Generator().manual_seed(request.seed % 2**63)
        numbers[row, :room] = torch.rand(room, generator=generator, dtype=torch.float64)
    return numbers


def draw(
    logits: "torch.Tensor",
    temperature: "torch.Tensor",
    top_p: "torch.Tensor",
    numbers: "torch.Tensor",
) -> "torch.Tensor":
    """Draw one token a row: where the cumulative probability passes the row's number.

    At temperature 0 it is the most likely token.

    Args:
        logits: (rows, vocabulary).
        temperature: (rows,).
        top_p: (rows,), the probability of the nucleus that tokens are drawn from.
        numbers: (rows,), in [0, 1).

    Returns:
        Token ids, (rows,).
    """
    import torch

    best = logits.argmax(-1)
    greedy = temperature == 0
    if bool(greedy.all()):
        return best
    heat = temperature.clamp_min(1e-6).double()[:, None]
    probabilities = torch.softmax(logits.double() / heat, -1)
    limited = top_p < 1
    if bool(limited.any()):
        probabilities = in_nucleus(probabilities, torch.where(limited, top_p, torch.inf))
    total = probabilities.cumsum(-1)
    points = (numbers * total[:, -1])[:, None]
    drawn = torch.searchsorted(total, points, right=True)[:, 0]
    drawn = drawn.clamp_max(logits.shape[-1] - 1)
    return torch.where(greedy, best, drawn)


def in_nucleus(probabilities: "torch.Tensor", top_p: "torch.Tensor") -> "torch.Tensor":
    """Return the probabilities, with 0 outside the nucleus.

    That is the least set of likeliest tokens whose probability reaches `top_p`. A whole vocabulary
    takes long to sort, and the nucleus is nearly always among its `NUCLEUS_SORTED` likeliest
    tokens; else all are sorted.

    Args:
        probabilities: (rows, vocabulary).
        top_p: (rows,); infinite: the row stays as it is.
    """
    import torch

    ordered, order = probabilities.topk(min(NUCLEUS_SORTED, probabilities.shape[-1]))
    reached = ordered.sum(-1) >= top_p
    if not bool((reached | top_p.isinf()).all()):
        ordered, order = probabilities.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.masked_fill(before >= top_p[:, None], 0.0)
    inside = torch.zeros_like(probabilities).scatter(-1, order, ordered)
    return torch.where(top_p.isinf()[:, None], probabilities, inside)


def pad(prompts: Sequence[list[int]], device: Any) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return token ids padded on the left, and the mask of real tokens, both (rows, width)."""
    import torch

    width = max(len(prompt) for prompt in prompts)
    ids = []
    mask = []
    for prompt in prompts:
        padding = [0] * (width - len(prompt))
        ids.append(padding + prompt)
        mask.append(padding + [1] * len(prompt))
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def find_end_tokens(network: Any, tokenizer: Any) -> set[int]:
    """Return the tokens that end a turn, by the model's generation config and the tokenizer."""
    of_model = network.generation_config.eos_token_id
    tokens = of_model if isinstance(of_model, list) else [of_model]
    return {token for token in [*tokens, tokenizer.eos_token_id] if token is not None}


def completes_stop(tokens: list[int], stop: Sequence[str], tokenizer: Any) -> bool:
    """Return whether the newest tokens complete a stop string."""
    if not stop:
        return False
    window = max(len(words) for words in stop) + 8
    tail = tokenizer.decode(tokens[-window:], skip_special_tokens=True)
    return any(words in tail for words in stop)


def cut(text: str, stop: Sequence[str]) -> str:
    """Return the text before the first stop string."""
    places = [text.find(words) for words in stop]
    return text[: min((place for place in places if place >= 0), default=len(text))]
