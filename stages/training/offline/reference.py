"""Reference log-probabilities, remembered from run to run: a sweep over betas, losses or labels
computes them once.

In: a trainer's tokenized examples. Out: the same with its columns of log pi0(answer | prompt), read
from the run's call store where another run has left them. A value is identified by the reference's
content, the number format of the weights and the tokens, so DPO and KTO share equal values, and
another order of rows finds the same values. Left out: references that move (`sync_ref_model`),
which cannot be remembered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat, TypeAdapter

from stages.runtime.context import Context
from stages.runtime.manifest import canonical
from stages.runtime.models import Model
from stages.runtime.store import CallStore, call_key
from stages.training.arguments import build_arguments
from stages.training.config import TrainingConfig
from stages.training.frame import Examples, create_trainer
from stages.training.held_out import check_held_out
from stages.training.model_files import load_model, load_policy

_STORED = TypeAdapter(FiniteFloat)


@dataclass
class Reference:
    """The remembered log-probabilities of a frozen reference."""

    store: CallStore
    facts: dict[str, Any]
    """What the values depend on besides the tokens, as plain data."""
    folder: Path
    """For files that TRL hands from process to process."""
    stored: int = 0
    """Values that were in the store."""
    computed: int = 0
    """Values that had to be computed."""

    def fill(self, trainer: Any, dataset: Any, compute: Callable[[Any], Any]) -> Any:
        """`dataset` with the trainer's columns of reference log-probabilities.

        Args:
            compute: makes those columns for a part of the dataset.
        """
        columns = trainer.reference_columns()
        # Only the first process reads and writes the store.
        main = trainer.is_world_process_zero()
        keys = [self._keys(trainer.data_collator([row])) for row in dataset] if main else []
        values = self._stored_values(keys)
        missing = [index for index, row in enumerate(values) if None in row]
        if missing:
            part = dataset.select(missing)
            # TRL hands the values from rank to rank in a file, which for such a dataset lies in a
            # folder of each rank's own.
            self.folder.mkdir(parents=True, exist_ok=True)
            part._get_cache_file_path = lambda name: str(self.folder / f"{name}.arrow")
            results = compute(part)
            for place, index in enumerate(missing):
                values[index] = [float(results[column][place]) for column in columns]
            if main:
                answers = [zip(keys[index], values[index], strict=True) for index in missing]
                self.store.put_many(dict(chain.from_iterable(answers)))
        self.computed += len(missing) * len(columns)
        self.stored += (len(values) - len(missing)) * len(columns)
        for place, column in enumerate(columns):
            dataset = dataset.add_column(column, [row[place] for row in values])
        return dataset

    def _stored_values(self, keys: list[list[str]]) -> list[list[float | None]]:
        """The store's values, on every process; `keys` are read on the first one."""
        from accelerate.utils import broadcast_object_list

        every = list(dict.fromkeys(key for row in keys for key in row))
        answers = self.store.get_many(every, _STORED.validate_json)
        stored: list[Any] = [[[answers.get(key) for key in row] for row in keys]]
        broadcast_object_list(stored, from_process=0)
        values: list[list[float | None]] = stored[0]
        return values

    def _keys(self, batch: Any) -> list[str]:
        """A key for every sequence of an example, which is collated alone.

        A sequence is identified by its tokens, and how many of them are the answer.
        """
        rows = []
        for kind in ("", "KL_"):
            if f"{kind}input_ids" not in batch:
                continue
            names = ("input_ids", "attention_mask", "completion_mask")
            columns = [batch[f"{kind}{name}"] for name in names]
            for ids, real, answer in zip(*columns, strict=True):
                rows.append((ids[real.bool()].tolist(), int(answer.sum())))
        shared = None
        if self.facts.get("ld_alpha") is not None:
            shared = min(answer for _, answer in rows)
        return [
            call_key(what="reference", ids=ids, answer=answer, shared=shared, **self.facts)
            for ids, answer in rows
        ]


class RemembersReference:
    """A trainer of TRL's that reads its reference's log-probabilities from a `Reference`."""

    state: Any

    def __init__(self, *args: Any, reference: Reference | None = None, **kwargs: Any):
        # TRL's own constructor calls what needs it.
        self.reference = reference
        super().__init__(*args, **kwargs)

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        if not len(dataset):
            return dataset

        def compute(part: Any) -> Any:
            trainer: Any = super(RemembersReference, self)
            return trainer._precompute_ref_logps(part, name, batch_size)

        if self.reference is None:
            return compute(dataset)
        return self.reference.fill(self, dataset, compute)

    @property
    def indifferent_loss(self) -> float | None:
        """The first loss that was logged: the policy begins as its reference."""
        return next((entry["loss"] for entry in self.state.log_history if "loss" in entry), None)

    def reference_columns(self) -> Sequence[str]:
        """The dataset's columns of log-probabilities, in the order of an example's sequences."""
        raise NotImplementedError


def build_with_reference(
    trainer_class: Any,
    config: TrainingConfig,
    base: Model,
    train: Examples,
    held: Examples,
    context: Context,
    **defaults: Any,
) -> Any:
    """A trainer over the base model and its frozen reference; nothing is trained yet.

    A reference whose log-probabilities are computed beforehand needs no model of its own, and with
    LoRA it is the model with its adapter off. One that moves (`sync_ref_model`) cannot be computed
    beforehand.

    Args:
        trainer_class: a `RemembersReference`.
        defaults: of the trainer's config, where `args` say nothing.
    """
    beforehand = not config.args.get("sync_ref_model")
    arguments = build_arguments(
        config.trainer_options,
        config.args,
        context,
        precompute_ref_log_probs=beforehand,
        **defaults,
    )
    policy = load_policy(config, base, context)
    if getattr(config, "share_prefixes", False):
        from stages.training.machine.pair_prefixes import share_prefixes

        share_prefixes(policy["model"])
    reference, model = None, None
    if arguments.precompute_ref_log_probs:
        reference = _reference_of(base, config, arguments, context)
    elif config.lora is None:
        model = load_model(base, config.policy_dtype, config.args)
    return create_trainer(
        trainer_class,
        train,
        held,
        context,
        **policy,
        ref_model=model,
        reference=reference,
        args=arguments,
    )


def _reference_of(
    base: Model, config: TrainingConfig, arguments: Any, context: Context
) -> Reference:
    facts = {
        "model": base.content,
        "dtype": config.policy_dtype,
        "mixed": [bool(arguments.bf16), bool(arguments.fp16)],
        "ld_alpha": getattr(arguments, "ld_alpha", None),
        "kwargs": canonical(config.args.get("model_init_kwargs") or {}),
    }
    return Reference(context.store, facts, Path(arguments.output_dir) / "reference")


def measure_with_reference(trainer: Any) -> dict[str, Any]:
    """The metrics of the held-out part, and how many of the reference's values were stored and how
    many computed; None without a memory.
    """
    reference = trainer.reference
    counts = None
    if reference:
        counts = {"stored": reference.stored, "computed": reference.computed}
    return {"held_out": check_held_out(trainer), "reference": counts}
