"""Reference log-probabilities, remembered from run to run: a sweep over betas, losses or labels
pays them once.

In: a trainer's tokenized examples. Out: the same with its columns of log pi0(answer | prompt), read
from the run's call store where another run has left them. A value is known by the reference's
content, the number format of the weights and the tokens, so DPO and KTO share what they have in
common, and another order of rows finds the same values. Left out: references that move
(`sync_ref_model`), which cannot be remembered.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages.runtime.artifacts import canonical
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.store import CallStore, call_key


class Reference:
    """Args:
    store: where values lie.
    facts: what they depend on besides the tokens, as plain data.

    `stored` and `computed` count the answers that were found and those that had to be computed.
    """

    def __init__(self, store: CallStore, facts: dict[str, Any], folder: Path):
        self.store, self.facts, self.folder = store, facts, folder
        self.stored = self.computed = 0

    def fill(
        self,
        dataset: Any,
        columns: Sequence[str],
        collate: Callable[[list[Any]], Any],
        compute: Callable[[Any], Any],
        main: bool,
    ) -> Any:
        """`dataset` with `columns` of reference log-probabilities.

        Args:
            columns: one for each sequence of an example, in the order in which they are collated.
            collate: the trainer's collator.
            compute: makes those columns for a part of the dataset.
            main: whether this process may read and write the store.
        """
        from accelerate.utils import broadcast_object_list

        keys = [self._keys(collate([example])) for example in dataset] if main else []
        known: list[Any] = [[[self.store.get(key) for key in row] for row in keys]]
        broadcast_object_list(known, from_process=0)
        values: list[list[float | None]] = known[0]
        missing = [index for index, row in enumerate(values) if None in row]
        if missing:
            part = dataset.select(missing)
            # TRL hands the values from rank to rank in a file, which for such a dataset lies in a
            # folder of each rank's own.
            self.folder.mkdir(parents=True, exist_ok=True)
            part._get_cache_file_path = lambda name: str(self.folder / f"{name}.arrow")
            found = compute(part)
            for place, index in enumerate(missing):
                values[index] = [float(found[column][place]) for column in columns]
                if main:
                    for key, value in zip(keys[index], values[index], strict=True):
                        self.store.put(key, value)
        self.computed += len(missing) * len(columns)
        self.stored += (len(values) - len(missing)) * len(columns)
        for place, column in enumerate(columns):
            dataset = dataset.add_column(column, [row[place] for row in values])
        return dataset

    def counts(self) -> dict[str, int]:
        """How many answers' values were found, and how many computed."""
        return {"stored": self.stored, "computed": self.computed}

    def _keys(self, batch: Any) -> list[str]:
        """A key for every sequence of an example, collated by itself: its tokens, and how many of
        them are the answer.
        """
        rows = []
        for kind in ("", "KL_"):
            if f"{kind}input_ids" in batch:
                names = ("input_ids", "attention_mask", "completion_mask")
                for ids, real, answer in zip(
                    *(batch[f"{kind}{name}"] for name in names), strict=True
                ):
                    rows.append((ids[real.bool()].tolist(), int(answer.sum())))
        shared = (
            min(answer for _, answer in rows) if self.facts.get("ld_alpha") is not None else None
        )
        return [
            call_key(what="reference", ids=ids, answer=answer, shared=shared, **self.facts)
            for ids, answer in rows
        ]


def reference_of(
    model: Model, dtype: str, arguments: Any, kwargs: Any, context: Context
) -> Reference:
    """The memory for a frozen reference.

    Args:
        arguments: the trainer's config: its number format, and what weighs the tokens.
        kwargs: what the model was loaded with besides (`model_init_kwargs`).
    """
    facts = {
        "model": model.content,
        "dtype": dtype,
        "mixed": [bool(arguments.bf16), bool(arguments.fp16)],
        "ld_alpha": getattr(arguments, "ld_alpha", None),
        "kwargs": canonical(kwargs or {}),
    }
    return Reference(context.store, facts, Path(arguments.output_dir) / "reference")
