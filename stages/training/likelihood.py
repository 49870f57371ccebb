"""How likely a language model finds given answers: log-probabilities summed over an answer and the
end of its turn.

In: a model and (prompt messages, answer) items. Out: one number an item, in nats; None for a text
longer than the model's context. Texts are made into tokens anew, which may cut them otherwise than
the sampler did.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.training.spans import IGNORED, learnt


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

    from stages.training.model_files import load_model, load_tokenizer

    tokenizer = load_tokenizer(model, {})
    network = load_model(model, dtype, {}).eval().to("cuda" if torch.cuda.is_available() else "cpu")
    limit = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    texts = [
        learnt(tokenizer, prompt, [{"role": "assistant", "content": answer}], variables)
        for prompt, answer in items
    ]
    fitting = [i for i, (ids, _) in enumerate(texts) if limit is None or len(ids) <= limit]
    fitting.sort(key=lambda i: len(texts[i][0]), reverse=True)
    found: list[float | None] = [None] * len(items)
    with torch.inference_mode():
        for start in range(0, len(fitting), batch_size):
            batch = fitting[start : start + batch_size]
            width = len(texts[batch[0]][0])
            ids = torch.zeros(len(batch), width, dtype=torch.long, device=network.device)
            labels = torch.full_like(ids, IGNORED)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(batch):
                length = len(texts[i][0])
                ids[row, :length] = torch.tensor(texts[i][0])
                labels[row, :length] = torch.tensor(texts[i][1])
                mask[row, :length] = 1
            logits = network(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
            logps = selective_log_softmax(logits, ids[:, 1:]) * (labels[:, 1:] != IGNORED)
            for i, value in zip(batch, logps.sum(dim=1).tolist(), strict=True):
                found[i] = value
    return found
