"""Hydra's callback for a sweep over variants: a forecast before the first job, a comparison after the last.

Hydra turns an exception of a callback into a warning, so what must stop the sweep leaves here as SystemExit. A job that fails
is told at once, noted in its folder and does not stop the others, whatever the launcher.
"""

import gc
import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from stages.ablation.compare import compare, shown
from stages.ablation.files import write
from stages.ablation.forecast import forecast, show
from stages.ablation.jobs import DONE, FAILED, left_behind, overrides_of
from stages.ablation.levels import selection_of
from stages.ablation.report import write_report
from stages.principles.select import select
from stages.runtime.artifacts import write_atomically
from stages.runtime.config import read_settings
from stages.runtime.display import stopped, wide
from stages.runtime.errors import UserError


class Ablation(Callback):
    """In conf/experiment/ablate.yaml: `hydra.callbacks.ablation`."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        told = f"Without -m only the variant {config.variant!r} is run; `python run.py -m experiment=ablate` runs them all."
        wide(Console(stderr=True)).print(told, highlight=False)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        console = wide(Console(stderr=True))
        with _told(console):
            overrides = overrides_of(config)
            lines, detectable = forecast(config, overrides, console)
            show(lines, detectable, console)
            if config.plan:
                sys.exit(0)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Note a failure where the comparison finds it, and let the sweep go on."""
        folder = Path(config.hydra.runtime.output_dir)
        if job_return.status is not JobStatus.FAILED:
            with suppress(OSError):
                (folder / FAILED).unlink(missing_ok=True)
            return
        error = job_return._return_value
        if not isinstance(error, UserError):  # a bug of ours, told with its traceback
            traceback.print_exception(error)
        told = {"variant": str(config.variant), "seed": config.seed, "error": str(error) or type(error).__name__}
        with suppress(OSError):
            (folder / DONE).unlink(missing_ok=True)
            write_atomically(folder / FAILED, json.dumps(told, indent=2, ensure_ascii=False))
        job_return._return_value, job_return.status = None, JobStatus.COMPLETED

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        console = wide(Console(stderr=True))
        with _told(console):
            folder = Path(config.hydra.sweep.dir)
            gc.freeze()  # statsmodels collects garbage at each of its corrections; there is little, among many objects
            jobs = left_behind(folder, overrides_of(config))
            settings, plain = read_settings(_own(config))
            told = [{"variant": j.label, "seed": j.seed, "folder": str(j.number)} for j in jobs if not j.error]
            facts = {"constitution": plain["constitution"], "jobs": told}  # each folder's run.json says where its artifacts lie
            comparison = compare(settings.ablate, jobs)
            write(folder / "ablation", comparison, settings.ablate, facts)
            wide(Console()).print(shown(comparison))
            texts = {p.id: p.text for p in select(selection_of(config.constitution)).principles}
            title = f"Ablation of {settings.constitution['name']}, level {settings.ablate.level}"
            page = write_report(folder / "ablation", comparison, settings.ablate, jobs, texts, title)
            console.print(f"Written to {folder / 'ablation'}; look at {page}", highlight=False)
            if comparison.missing:
                console.print("Some jobs failed; the same command again makes up for them.", highlight=False)
                sys.exit(2)


def _own(config: DictConfig) -> DictConfig:
    """The config without Hydra's own part."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


@contextmanager
def _told(console: Console) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        stopped(error, console)
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
