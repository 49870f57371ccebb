"""Reading many texts with one frozen model: open it, read in batches by length, remember answers.

In: a model and texts as token ids, any number. Out: batches of about equal length, padded on the
right; and answers by their keys in the run's call store, where another run may have left them.
Reward models (`reward_models/scorer.py`), classifiers (`evaluation/classifier.py`) and
log-probabilities of answers (`likelihood.py`) read this way.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, TypeVar

from stages.generators.transformers_loading import first_lines
from stages.guards.errors import UserError
from stages.runtime.models import Model
from stages.runtime.store import CallStore
from stages.training.model_files import Head, load_model

Item = TypeVar("Item")


def model_config(model: Model, name: str) -> Any:
    """The config of a model.

    Args:
        name: of the kind of model, for messages: "reward model".

    Raises:
        UserError: it is nothing that transformers knows.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(
            model.path, revision=model.revision, trust_remote_code=False
        )
    except Exception as error:  # its config's fields raise anything
        raise UserError(
            f"the {name} cannot be loaded: {first_lines(error)}",
            where=model.path,
            fix="give a model that transformers knows",
        ) from None


def architecture(config: Any) -> str:
    """The name of a model's class."""
    return str((config.architectures or ["an unknown kind"])[0])


def is_classifier(config: Any) -> bool:
    """Whether a model is a sequence classifier."""
    return architecture(config).endswith("ForSequenceClassification")


def context_length(config: Any) -> int | None:
    """The most tokens that a model reads; None where its config sets no limit."""
    limit: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return limit


def open_frozen(model: Model, dtype: str, head: Head, outputs: int = 1) -> Any:
    """The model's network, in evaluation mode, on the GPU where there is one.

    Raises:
        UserError: as `load_model`.
    """
    import torch

    network = load_model(model, dtype, {}, head, outputs=outputs).eval()
    return network.to("cuda" if torch.cuda.is_available() else "cpu")


def batches(
    items: Iterable[Item], length: Callable[[Item], int], size: int
) -> Iterator[list[Item]]:
    """The items, `size` at a time, the longest first."""
    ordered = sorted(items, key=length, reverse=True)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def pad_rows(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Any, Any]:
    """The rows as a tensor, padded on the right, and the mask of what is not padding.

    Returns:
        Two tensors of integers, shape (rows, longest row).
    """
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask


def common_length(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with."""
    columns = zip(*rows, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def stored_answers(
    keys: Sequence[str], items: Sequence[Item], store: CallStore, check: Callable[[str], Any]
) -> tuple[dict[str, Any], dict[str, Item]]:
    """Look answers up in the call store.

    Args:
        keys: one for each item; equal items have equal keys.
        check: reads an answer from its JSON, and raises a ValueError for what is none.

    Returns:
        The stored answers by key, and the items without one by key, each once.
    """
    answers = store.get_many(list(dict.fromkeys(keys)), check)
    missing: dict[str, Item] = {}
    for key, item in zip(keys, items, strict=True):
        if key not in answers:
            missing.setdefault(key, item)
    return answers, missing


def store_answers(
    answers: dict[str, Any], computed: Iterable[tuple[str, Any]], store: CallStore
) -> None:
    """Put every computed answer into the store, as soon as it comes, and into `answers`."""
    for key, answer in computed:
        store.put(key, answer)
        answers[key] = answer
