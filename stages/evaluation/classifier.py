"""Probabilities of a sequence classifier's labels, stored in the call store.

It loads safetensors only, and never runs remote code.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.generators.transformers_loading import load_tokenizer
from stages.guards.errors import UserError
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.store import call_key
from stages.training.batch_reading import (
    architecture,
    batches,
    context_length,
    is_classifier,
    model_config,
    open_frozen,
    store_answers,
    stored_answers,
)


def probabilities(
    model: Model,
    texts: Sequence[str],
    labels: Sequence[str],
    context: Context,
    batch_size: int,
    dtype: str,
) -> list[float | None]:
    """For each text the probability that it has one of `labels`.

    A classifier that gives several labels at once (`problem_type: multi_label_classification`)
    counts with the most likely of them.

    Returns:
        None for a text that does not fit the model's context.

    Raises:
        UserError: the model is not a classifier, or has no such label.
    """
    config = model_config(model, "classifier")
    places = _label_places(model, config, labels)
    several = config.problem_type == "multi_label_classification"
    keys = [
        call_key(verb="classify", model=model.content, dtype=dtype, text=text) for text in texts
    ]
    answers, missing = stored_answers(keys, texts, context.store)
    if missing:
        limit = context_length(config)
        computed = _classify(model, missing, several, limit, batch_size, dtype)
        store_answers(answers, computed, context.store)
    return [_probability(answers[key]["probabilities"], places, several) for key in keys]


def _probability(
    chances: Sequence[float] | None, places: Sequence[int], several: bool
) -> float | None:
    selected = [chances[place] for place in places] if chances else []
    if not selected:
        return None
    return max(selected) if several else min(sum(selected), 1.0)


def _label_places(model: Model, config: Any, labels: Sequence[str]) -> list[int]:
    """The indices of the labels in the classifier's output.

    Raises:
        UserError: the model is not a classifier, or has no such label.
    """
    if not is_classifier(config):
        raise UserError(
            f"this model is not a sequence classifier but {architecture(config)}",
            where=model.path,
            fix="wire `judge` to a classifier, or set `by: question` for a model that writes",
        )
    places = {str(name): int(place) for place, name in config.id2label.items()}
    for label in labels:
        if label not in places:
            raise UserError(
                f"the classifier has no label {label!r}",
                where=model.path,
                fix=f"set `labels` to some of {', '.join(places)}",
            )
    return [places[label] for label in labels]


def _open(model: Model, dtype: str) -> tuple[Any, Any]:
    """The classifier's network and tokenizer.

    Raises:
        UserError: they cannot be loaded.
    """
    tokenizer = load_tokenizer(model)
    network = open_frozen(model, dtype, "classifier")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if network.config.pad_token_id is None:
        network.config.pad_token_id = tokenizer.pad_token_id
    return network, tokenizer


def _classify(
    model: Model,
    missing: Mapping[str, str],
    several: bool,
    limit: int | None,
    batch_size: int,
    dtype: str,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The probabilities of all labels, by the texts' keys; None for a text that does not fit."""
    import torch

    network, tokenizer = _open(model, dtype)
    lengths = {
        key: len(tokenizer(text, verbose=False)["input_ids"]) for key, text in missing.items()
    }
    fitting = []
    for key, length in lengths.items():
        if limit and length > limit:
            yield key, {"probabilities": None}
        else:
            fitting.append(key)
    for batch in batches(fitting, lengths.__getitem__, batch_size):
        tokens = tokenizer([missing[key] for key in batch], padding=True, return_tensors="pt")
        tokens = tokens.to(network.device)
        with torch.inference_mode():
            logits = network(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).logits.float()
        chances = logits.sigmoid() if several else logits.softmax(-1)
        for key, row in zip(batch, chances.tolist(), strict=True):
            yield key, {"probabilities": row}
