"""Short texts as vectors: by a sentence encoder where there is one, else by the letters they share.

In: texts. Out: an array of shape (texts, features), each row of length 1, so that products are
cosines. An encoder's vector is the mean of its last hidden states (Reimers and Gurevych 2019, arXiv
1908.10084); letters are weighted by their rarity (TF-IDF).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.generators.transformers_loading import load_network, load_tokenizer
from stages.runtime.models import Model
from stages.training.batch_reading import context_length, model_config

BATCH = 64
MOST_TOKENS = 512


def embed(texts: Sequence[str], encoder: Model | None) -> Any:
    """Return the vectors of some texts.

    Raises:
        UserError: the encoder cannot be loaded.
    """
    return encode(texts, encoder) if encoder else count_words(texts)


def count_words(texts: Sequence[str]) -> Any:
    """Return the TF-IDF vectors of texts over the letters of their words, three to five at a time.

    So a word is near its other forms. A text that shares nothing with others is near none, and two
    words for one thing are not near: that takes an encoder.

    Args:
        texts: at least one.

    Returns:
        An array of shape (texts, features).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    return vectorizer.fit_transform(texts).toarray()


def encode(texts: Sequence[str], encoder: Model) -> Any:
    """Return the mean of the encoder's last hidden states for each text, as unit vectors.

    Raises:
        UserError: it cannot be loaded.
    """
    import torch
    from transformers import AutoModel

    tokenizer = load_tokenizer(encoder)
    limit = context_length(model_config(encoder, "sentence encoder")) or MOST_TOKENS
    network = load_network(AutoModel, encoder, {"dtype": torch.float32}, new_output=True).eval()
    parts = []
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        tokens = tokenizer(
            batch,
            padding=True,
            truncation=True,
            max_length=min(limit, MOST_TOKENS),
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = network(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        parts.append(((states * mask).sum(1) / mask.sum(1)).numpy())
    vectors = np.concatenate(parts)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
