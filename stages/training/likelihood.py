"""How likely a language model finds given answers: log-probabilities summed over an answer and the
end of its turn.

In: a model and (prompt messages, answer) items. Out: one number an item, in nats; None for a text
longer than the model's context, or one that its chat template refuses. Texts are turned into tokens
again, which may split them differently from the sampler.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from stages.generators.chat import TemplateRefusal
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.training.batch_reading import batches, context_length, open_frozen
from stages.training.spans import IGNORED, collate_tokens, learnt_tokens
from stages.training.turn_ends import cut_after_turns


def answer_logps(
    model: Model,
    items: Sequence[tuple[list[Message], str]],
    batch_size: int = 32,
    dtype: str = "float32",
    variables: Mapping[str, Any] | None = None,
) -> list[float | None]:
    """log pi(answer | prompt) of every item, in their order.

    Args:
        variables: of the chat template.

    Raises:
        UserError: the model cannot be loaded or has no chat template.
    """
    import torch
    from trl.trainer.utils import selective_log_softmax

    from stages.training.model_files import load_tokenizer

    tokenizer = cut_after_turns(load_tokenizer(model, {}))
    network = open_frozen(model, dtype, "language")
    limit = context_length(network.config)
    texts: dict[int, tuple[list[int], list[int]]] = {}
    for place, (prompt, answer) in enumerate(items):
        turn: list[Message] = [{"role": "assistant", "content": answer}]
        with suppress(TemplateRefusal):
            texts[place] = learnt_tokens(tokenizer, prompt, turn, variables)
    fitting = [place for place in texts if limit is None or len(texts[place][0]) <= limit]
    logps: list[float | None] = [None] * len(items)
    with torch.inference_mode():
        for batch in batches(fitting, lambda place: len(texts[place][0]), batch_size):
            inputs = collate_tokens([texts[place] for place in batch], 0, network.device)
            labels = inputs.pop("labels")[:, 1:]
            logits = network(**inputs).logits[:, :-1].float()
            token_logps = selective_log_softmax(logits, inputs["input_ids"][:, 1:])
            sums = (token_logps * (labels != IGNORED)).sum(dim=1)
            for place, logp in zip(batch, sums.tolist(), strict=True):
                logps[place] = logp
    return logps


def nats_a_token(
    model: Model,
    items: Sequence[tuple[list[Message], str]],
    variables: Mapping[str, Any] | None = None,
) -> list[float | None]:
    """The mean negative log-likelihood of an answer's tokens, whose exponential is the perplexity.

    Args:
        variables: of the chat template.

    Raises:
        UserError: as `answer_logps`.
    """
    from stages.training.model_files import load_tokenizer

    logps = answer_logps(model, items, variables=variables)
    tokenizer = load_tokenizer(model, {})
    nats: list[float | None] = []
    for (_, answer), logp in zip(items, logps, strict=True):
        tokens = tokenizer.encode(answer, add_special_tokens=False)
        length = len(tokens) + 1  # the end of the turn
        nats.append(None if logp is None else -logp / length)
    return nats
