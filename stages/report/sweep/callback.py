"""Hydra's callback for a sweep over variants: a forecast before the jobs, a comparison after them.

Hydra turns an exception of a callback into a warning, so this callback raises SystemExit where
the sweep must stop. A failed job is reported at once, recorded in its folder and does not stop the
others, with any launcher.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from stages.ablation.compare import Comparison, compare, no_outcome
from stages.ablation.forecast import forecast
from stages.ablation.forecast_table import show_forecast
from stages.ablation.jobs import DONE, FAILED, Job, read_jobs
from stages.ablation.levels import selection_of
from stages.ablation.outcomes import OWN_TESTS, possible_outcomes
from stages.ablation.sweep_overrides import overrides_of, resolve_store
from stages.guards.console import open_console
from stages.guards.disk import write_atomically
from stages.guards.secrets import mask
from stages.principles.constitution import load
from stages.principles.select import select
from stages.report.sweep.files import write
from stages.report.sweep.page import write_report
from stages.report.sweep.summary import notes, summary_table
from stages.runtime.pipeline.display import exit_at_errors
from stages.runtime.pipeline.settings import Ablate, read_settings

FOLDER = "ablation"  # of the results, in the sweep's folder


class Ablation(Callback):
    """The callback `hydra.callbacks.ablation` of conf/experiment/ablate.yaml."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        open_console(stderr=True).print(
            f"Without -m only the variant {config.variant!r} is run; "
            "`python run.py -m experiment=ablate` runs them all."
        )

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Show the forecast of the sweep; with `plan=true` stop after it."""
        console = open_console(stderr=True)
        with exit_at_errors(Path(config.hydra.sweep.dir) / "run.log"):
            overrides = overrides_of(config)
            check_outcome(config)
            jobs, detectable = forecast(config, overrides, console)
            show_forecast(jobs, detectable, console)
            if config.plan:
                sys.exit(0)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Record a failure in the job's folder, for the comparison, and continue the sweep."""
        folder = Path(config.hydra.runtime.output_dir)
        if job_return.status is not JobStatus.FAILED:
            with suppress(OSError):
                (folder / FAILED).unlink(missing_ok=True)
            return
        error = job_return._return_value
        facts = {
            "variant": str(config.variant),
            "seed": config.seed,
            "error": mask(str(error)) or type(error).__name__,
        }
        with suppress(OSError):
            (folder / DONE).unlink(missing_ok=True)
            write_atomically(folder / FAILED, json.dumps(facts, indent=2, ensure_ascii=False))
        job_return._return_value, job_return.status = None, JobStatus.COMPLETED

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Compare the jobs, write the results and show them; exit with 2 if jobs failed."""
        console = open_console(stderr=True)
        with exit_at_errors(Path(config.hydra.sweep.dir) / "run.log"):
            resolve_store(config)
            folder = Path(config.hydra.sweep.dir)
            jobs = read_jobs(folder, overrides_of(config))
            settings, _ = read_settings(_without_hydra(config))
            comparison = compare(settings.ablate, jobs)
            finished = [job for job in jobs if not job.error]
            write(folder / FOLDER, comparison, settings.ablate, finished)
            screen = open_console()
            screen.print(summary_table(comparison, screen.width))
            for note in notes(comparison):
                console.print(f"Note: {note}")
            page = _write_page(folder / FOLDER, comparison, settings.ablate, jobs)
            console.print(f"Written to {folder / FOLDER}; look at {page}")
            if comparison.missing:
                console.print("Some jobs failed; the same command again runs the missing jobs.")
                sys.exit(2)


def _write_page(
    folder: Path, comparison: Comparison, settings: Ablate, jobs: Sequence[Job]
) -> Path:
    """Write the sweep's page; returns its path."""
    sets = list(dict.fromkeys(job.constitution["name"] for job in jobs if not job.error))
    texts: dict[str, str] = {}
    for name in sets:
        texts |= {principle.id: principle.text for principle in load(name).principles}
    title = f"Ablation of {' and '.join(sets)}, level {settings.level}"
    return write_report(folder, comparison, settings, jobs, texts, title)


def check_outcome(config: DictConfig) -> None:
    """Check that the requested outcome can exist, as far as this is known before anything runs.

    Raises:
        UserError: there cannot be such an outcome.
    """
    level = config.ablate.level
    outcome = config.ablate.outcome
    if outcome is None or str(outcome).startswith(OWN_TESTS):
        return
    principles = select(selection_of(config.constitution)).principles
    names = possible_outcomes(level, [principle.id for principle in principles])
    if str(outcome).partition(" (")[0] not in names:
        raise no_outcome(str(outcome), names)


def _without_hydra(config: DictConfig) -> DictConfig:
    """The config without Hydra's own part."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
