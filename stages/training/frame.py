"""The frame of every training stage: build, train, measure, save.

In: how a stage builds its trainer, a TRL trainer over a base model. Out: the Result, with `model/`
beside it in the artifact's folder. Left out: reading the rows and building the trainer, which
differ from stage to stage.

A training killed at any point goes on from its last complete checkpoint when the same step runs
again: same fingerprint, same folder, same order of the data. Checkpoints are removed once the model
is saved; snapshots (`snapshots/`) lie among them until then. Several processes may take part
(`runtime/pipeline/launch.py`): the trainer knows which of them saves.
"""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.doubts.trainings import doubt_preference, doubt_steps, doubt_weights
from stages.guards.disk import remove
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.pipeline.launch import STOPPED
from stages.runtime.rows import Dropped
from stages.training.arguments import refusals_as_user_errors
from stages.training.checkpoints import last_complete, training_of
from stages.training.config import TrainingConfig
from stages.training.model_files import save_model
from stages.training.session import WarningLog, model_session
from stages.training.snapshots.snapshot import FOLDER

Examples = list[dict[str, Any]]


@dataclass(frozen=True)
class Training:
    """A trainer that is ready to train, and what was dropped and counted of its examples."""

    trainer: Any
    dropped: Sequence[Dropped] = ()
    """Examples that do not fit, with reasons."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """Metrics of the examples; they may replace `n`, the rows of the trainer's dataset."""


def run_training(
    config: TrainingConfig,
    inputs: Mapping[str, Artifact],
    context: Context,
    build: Callable[[Model], Training],
    *,
    dropped: Sequence[Dropped] = (),
    measure: Callable[[Any], dict[str, Any]] | None = None,
    add_files: Callable[[Path], None] | None = None,
) -> Result:
    """Build the trainer, train, measure, save.

    Warnings of the libraries are printed once each, and counted in the metrics.

    Args:
        config: says how many snapshots to keep.
        inputs: `model` is the base model.
        build: makes the trainer over the base model.
        dropped: rows that did not become examples.
        measure: reads metrics off the trained model's trainer before the model is saved.
        add_files: writes further files into the saved model's folder.

    Raises:
        UserError: nothing fits, a model that cannot be loaded, memory or disk used up, a diverged
        loss.
    """

    def build_and_train(log: WarningLog) -> Result:
        base = inputs["model"].model()
        training = build(base)
        trainer = training.trainer
        rows = len(trainer.train_dataset)
        keep_snapshots(trainer, config.snapshots, base, context, add_files)
        curve = train(trainer, context, base)
        measured = measure(trainer) if measure is not None else {}
        names = _trained_weights(trainer)
        finish(trainer, context, base)
        if add_files is not None and trainer.is_world_process_zero():
            add_files(context.directory / "model")
        metrics = {"n": rows, **training.counts, **measured, **curve}
        if log.counts:
            metrics["warnings"] = dict(log.counts)
        warnings = _doubts(trainer, curve["steps"])
        if trainer.is_world_process_zero():
            equal = doubt_weights(Path(base.path), context.directory / "model", names)
            indifferent = getattr(trainer, "indifferent_loss", None)
            held_out = measured.get("held_out")
            warnings += equal or doubt_preference(curve["history"], indifferent, held_out)
        return Result(dropped=[*dropped, *training.dropped], metrics=metrics, warnings=warnings)

    # It frees memory at its end, when nothing refers to the trainer.
    with model_session(context) as log:
        return build_and_train(log)


def _trained_weights(trainer: Any) -> list[str]:
    """The names of the weights that change; none where an adapter will change them."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        return []
    return [name for name, weight in model.named_parameters() if weight.requires_grad]


def _doubts(trainer: Any, steps: int) -> list[str]:
    arguments = trainer.args
    warmup = arguments.get_warmup_steps(trainer.state.max_steps)
    if arguments.lr_scheduler_type == "constant":  # it has no warm-up
        warmup = 0
    return doubt_steps(steps, warmup, arguments.learning_rate)


def create_trainer(
    trainer_class: Callable[..., Any],
    train: Examples,
    held: Examples,
    context: Context,
    **options: Any,
) -> Any:
    """A trainer of TRL's over rows to train on and, if there are any, rows to evaluate on.

    Raises:
        UserError: it refuses the options.
    """
    from datasets import Dataset

    with refusals_as_user_errors("the trainer refuses the options", context):
        return trainer_class(
            train_dataset=Dataset.from_list(train),
            eval_dataset=Dataset.from_list(held) if held else None,
            **options,
        )


def keep_snapshots(
    trainer: Any,
    count: int,
    base: Model,
    context: Context,
    add_files: Callable[[Path], None] | None,
) -> None:
    """Have the trainer write evenly spaced models on its way, where any are asked for.

    Args:
        add_files: as of `run_training`.

    Raises:
        UserError: the weights are spread over processes, none of which could write them.
    """
    if not count:
        return
    from stages.training.snapshots.keeping import KeepSnapshots

    where = f"step {context.step!r}"
    if trainer.args.distributed_state.distributed_type in ("FSDP", "DEEPSPEED"):
        raise UserError(
            "snapshots cannot be kept of weights that are spread over processes",
            where=where,
            fix="remove `snapshots`, or launch it with launcher=torchrun",
        )

    def save(step: int) -> None:
        folder = Path(trainer.args.output_dir) / FOLDER / str(step)
        if trainer.is_world_process_zero():
            folder.parent.mkdir(parents=True, exist_ok=True)
            save_model(trainer, base, folder, is_final=False)
            if add_files is not None:
                add_files(folder)

    trainer.add_callback(KeepSnapshots(count, save, where))


def train(trainer: Any, context: Context, base: Model) -> dict[str, Any]:
    """Train a trainer over `base`, going on from the last sound checkpoint if there is one.

    Returns:
        `steps`, `train_loss` (mean over the last tenth of the steps) and `history`, the curve; on a
        GPU also `speed`.
    """
    from transformers import PrinterCallback

    from stages.training.machine.saves import TimedSaves, stop_at_sigterm
    from stages.training.machine.speed import card_of, measure_speed
    from stages.training.progress import Watch, curve, keep_reports

    damages: list[str] = []
    training = training_of(trainer, base, context.directory.name)
    checkpoint = last_complete(Path(trainer.args.output_dir), training, damages.append)
    for damage in damages:
        context.console.print(f"{context.step}: {damage}")
    if checkpoint is not None or damages:
        place = checkpoint.name if checkpoint else "the start"
        context.console.print(f"{context.step}: going on from {place}")
    watch = Watch(context.step, context.console, training)
    saves = TimedSaves(
        trainer.args.checkpoint_minutes,
        lambda text: context.console.print(f"{context.step}: {text}"),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watch)
    keep_reports(trainer, context.directory)
    # Before the others, which may delay a save.
    trainer.callback_handler.callbacks.insert(0, saves)
    try:
        with stop_at_sigterm(saves, trainer.args), measure_speed(trainer) as speed:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        watch.close()
    if saves.has_stopped:
        context.console.print(
            f"{context.step}: stopped by SIGTERM at step {trainer.state.global_step}, whose "
            "checkpoint is complete. Run the same command again to go on from it."
        )
        sys.exit(STOPPED)
    history = trainer.state.log_history
    losses = [entry["loss"] for entry in history if "loss" in entry]
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "steps": trainer.state.global_step,
        "train_loss": round(sum(tail) / len(tail), 6) if tail else None,
        "history": curve(history),
        **speed.describe(card_of(trainer)),
    }


def finish(trainer: Any, context: Context, base: Model) -> None:
    """Save the model beside the artifact's rows, then remove the checkpoints it no longer needs."""
    save_model(trainer, base, context.directory / "model")
    if trainer.is_world_process_zero():
        _remove_checkpoints(Path(trainer.args.output_dir), context.directory / FOLDER)
    trainer.accelerator.free_memory()


def _remove_checkpoints(folder: Path, snapshots: Path) -> None:
    """Remove them, and move the snapshots among them to their place.

    The checkpoints go first: a training that is killed in between then goes on from none, and
    writes all snapshots again.
    """
    if (folder / FOLDER).is_dir():
        for path in folder.iterdir():
            if path.name != FOLDER:
                remove(path)
        (folder / FOLDER).rename(snapshots)
    shutil.rmtree(folder, ignore_errors=True)
