"""Probabilities of a sequence classifier's labels, remembered in the call store. Safetensors only,
no remote code.
"""

from collections.abc import Sequence
from typing import Any

from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.runtime.store import call_key
from stages.training.model_files import refuse_adapter


def probabilities(
    model: Model,
    texts: Sequence[str],
    labels: Sequence[str],
    context: Context,
    batch_size: int,
    dtype: str,
) -> list[float | None]:
    """For each text the probability that one of `labels` is its label; None where it does not fit
    the model's context.

    A classifier that gives several labels at once (`problem_type: multi_label_classification`) is
    read by the likeliest.

    Raises:
        UserError: the model is no classifier, or has no such label.
    """
    places, several, limit = _labels(model, labels)
    keys = [
        call_key(verb="classify", model=model.content, dtype=dtype, text=text) for text in texts
    ]
    known: dict[str, Any] = {key: context.store.get(key) for key in dict.fromkeys(keys)}
    missing = {key: text for key, text in zip(keys, texts, strict=True) if known[key] is None}
    if missing:
        known |= _classify(model, missing, several, limit, context, batch_size, dtype)
    found: list[float | None] = []
    for key in keys:
        chances = known[key]["probabilities"]
        picked = [chances[place] for place in places] if chances else []
        found.append((max(picked) if several else min(sum(picked), 1.0)) if picked else None)
    return found


def _labels(model: Model, labels: Sequence[str]) -> tuple[list[int], bool, int | None]:
    from transformers import AutoConfig

    refuse_adapter(model)
    try:
        config = AutoConfig.from_pretrained(
            model.path, revision=model.revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        fix = "give a model that transformers knows"
        raise UserError(
            f"the classifier cannot be loaded: {reason}", where=model.path, fix=fix
        ) from None
    kind = (config.architectures or ["an unknown kind"])[0]
    if not kind.endswith("ForSequenceClassification"):
        fix = "wire `judge` to a classifier, or set `by: question` for a model that writes"
        raise UserError(f"this is no sequence classifier but {kind}", where=model.path, fix=fix)
    names = {str(name): int(place) for place, name in config.id2label.items()}
    for label in labels:
        if label not in names:
            fix = f"set `labels` to some of {', '.join(names)}"
            raise UserError(f"the classifier has no label {label!r}", where=model.path, fix=fix)
    several = config.problem_type == "multi_label_classification"
    return (
        [names[label] for label in labels],
        several,
        getattr(config.get_text_config(), "max_position_embeddings", None),
    )


def _classify(
    model: Model,
    missing: dict[str, str],
    several: bool,
    limit: int | None,
    context: Context,
    batch_size: int,
    dtype: str,
) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    arguments: dict[str, Any] = {"revision": model.revision, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model.path, **arguments)
        network = AutoModelForSequenceClassification.from_pretrained(
            model.path, use_safetensors=True, dtype=getattr(torch, dtype), **arguments
        ).eval()
    except (
        Exception
    ) as error:  # loading raises whatever its layers raise; the user needs one line of it
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        fix = "check the folder (config.json, *.safetensors, tokenizer.json)"
        raise UserError(
            f"the classifier cannot be loaded: {reason}", where=model.path, fix=fix
        ) from error
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if network.config.pad_token_id is None:
        network.config.pad_token_id = tokenizer.pad_token_id
    lengths = {
        key: len(tokenizer(text, verbose=False)["input_ids"]) for key, text in missing.items()
    }
    found: dict[str, Any] = {
        key: {"probabilities": None} for key in missing if limit and lengths[key] > limit
    }
    waiting = sorted(
        (key for key in missing if key not in found), key=lambda key: lengths[key], reverse=True
    )
    with torch.inference_mode():
        for start in range(0, len(waiting), batch_size):
            batch = waiting[start : start + batch_size]
            read = tokenizer([missing[key] for key in batch], padding=True, return_tensors="pt").to(
                network.device
            )
            logits = network(
                input_ids=read["input_ids"], attention_mask=read["attention_mask"]
            ).logits.float()
            chances = logits.sigmoid() if several else logits.softmax(-1)
            for key, row in zip(batch, chances.tolist(), strict=True):
                found[key] = {"probabilities": row}
                context.store.put(key, found[key])
    return found
