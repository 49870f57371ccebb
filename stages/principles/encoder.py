"""Texts as vectors of a sentence encoder, remembered in the call store.

In: texts and a model of transformers. Out: an array (texts, width) whose rows have the length 1, so
that products are cosines. A vector is the mean of the last hidden states (Reimers and Gurevych
2019, arXiv 1908.10084). A text that is too long for the encoder counts with its end.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter

from stages.generators.transformers_loading import load_network, load_tokenizer
from stages.runtime.models import Model
from stages.runtime.store import CallStore, call_key

BATCH = 64
MOST_TOKENS = 512
DIGITS = 6
"""Of a stored number: less than what the sizes of batches change."""
_VECTOR = TypeAdapter(list[float])


class Encoder:
    """A sentence encoder; it is loaded at its first text that is not stored, and stays.

    Args:
        model: an encoder of transformers.
        store: where vectors are remembered.
    """

    def __init__(self, model: Model, store: CallStore):
        self.model = model
        self.store = store

    def encode(self, texts: Sequence[str]) -> Any:
        """Return the vectors of some texts.

        Raises:
            UserError: the encoder cannot be loaded.
        """
        import numpy as np

        keys = [call_key(verb="encode", model=self.model.content, text=text) for text in texts]
        vectors: dict[str, Any] = {}
        missing = {}
        for key, text in zip(keys, texts, strict=True):
            vector = vectors.get(key) or self.store.get(key, _VECTOR.validate_json)
            if vector:
                vectors[key] = vector
            else:
                missing[key] = text
        for key, vector in _compute(self, missing):
            self.store.put(key, vector)
            vectors[key] = vector
        rows = np.array([vectors[key] for key in keys])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The tokenizer and the network."""
        import torch
        from transformers import AutoModel
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        tokenizer = load_tokenizer(self.model)
        tokenizer.truncation_side = "left"
        options = {"dtype": torch.float32}
        network = load_network(AutoModel, self.model, options, new_output=True).eval()
        network.to("cuda" if torch.cuda.is_available() else "cpu")
        return tokenizer, network


def encode(texts: Sequence[str], encoder: Model, store: CallStore) -> Any:
    """Return the vectors of some texts at once: see `Encoder`."""
    return Encoder(encoder, store).encode(texts)


def _compute(encoder: Encoder, texts: Mapping[str, str]) -> Iterator[tuple[str, list[float]]]:
    """The vectors of texts by their keys, in batches of about equal length."""
    if not texts:
        return
    import torch

    tokenizer, network = encoder.loaded
    limit = getattr(network.config.get_text_config(), "max_position_embeddings", MOST_TOKENS)
    keys = sorted(texts, key=lambda key: len(texts[key]))
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        tokens = tokenizer(
            [texts[key] for key in batch],
            padding=True,
            truncation=True,
            max_length=min(limit, MOST_TOKENS),
            return_tensors="pt",
        ).to(network.device)
        with torch.inference_mode():
            states = network(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        means = (states * mask).sum(1) / mask.sum(1)
        for key, row in zip(batch, means.tolist(), strict=True):
            yield key, [round(number, DIGITS) for number in row]
