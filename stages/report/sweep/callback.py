"""Hydra's callback for a sweep over variants: a forecast before the first job, a comparison after
the last.

Hydra turns an exception of a callback into a warning, so what must stop the sweep leaves here as
SystemExit. A job that fails is told at once, noted in its folder and does not stop the others,
whatever the launcher.
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
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from stages.ablation.compare import compare
from stages.ablation.forecast import forecast, show
from stages.ablation.jobs import DONE, FAILED, left_behind, overrides_of, settle
from stages.ablation.levels import selection_of
from stages.ablation.outcomes import OWN_TESTS, outcomes_of
from stages.principles.constitution import load
from stages.principles.select import select
from stages.report.sweep.files import write
from stages.report.sweep.page import write_report
from stages.report.sweep.summary import notes, shown
from stages.runtime.artifacts import write_atomically
from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.pipeline.config import as_user_error, read_settings
from stages.runtime.pipeline.display import set_console_width, show_error


class Ablation(Callback):
    """In conf/experiment/ablate.yaml: `hydra.callbacks.ablation`."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        line = f"Without -m only the variant {config.variant!r} is run; `python run.py -m experiment=ablate` runs them all."
        set_console_width(Console(stderr=True)).print(line, highlight=False)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        console = set_console_width(Console(stderr=True))
        with _told(console):
            overrides = overrides_of(config)
            check(config)
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
        facts = {
            "variant": str(config.variant),
            "seed": config.seed,
            "error": str(error) or type(error).__name__,
        }
        with suppress(OSError):
            (folder / DONE).unlink(missing_ok=True)
            write_atomically(folder / FAILED, json.dumps(facts, indent=2, ensure_ascii=False))
        job_return._return_value, job_return.status = None, JobStatus.COMPLETED

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        console = set_console_width(Console(stderr=True))
        with _told(console):
            folder = Path(config.hydra.sweep.dir)
            # statsmodels collects garbage at each of its corrections; there is little, among many
            # objects
            gc.freeze()
            settle(config)
            jobs = left_behind(folder, overrides_of(config))
            settings, _ = read_settings(_own(config))
            ran = [job for job in jobs if not job.error]
            # each folder's run.json says where its artifacts lie
            lines = [
                {
                    "variant": j.label,
                    "seed": j.seed,
                    "folder": str(j.number),
                    "constitution": j.constitution,
                }
                for j in ran
            ]
            facts = {"jobs": lines}
            comparison = compare(settings.ablate, jobs)
            write(folder / "ablation", comparison, settings.ablate, facts)
            set_console_width(Console()).print(shown(comparison))
            for note in notes(comparison):
                console.print(f"Note: {note}", highlight=False, markup=False)
            sets = list(dict.fromkeys(job.constitution["name"] for job in ran))
            texts = {p.id: p.text for name in sets for p in load(name).principles}
            title = f"Ablation of {' and '.join(sets)}, level {settings.ablate.level}"
            page = write_report(
                folder / "ablation", comparison, settings.ablate, jobs, texts, title
            )
            console.print(f"Written to {folder / 'ablation'}; look at {page}", highlight=False)
            if comparison.missing:
                console.print(
                    "Some jobs failed; the same command again makes up for them.", highlight=False
                )
                sys.exit(2)


def check(config: DictConfig) -> None:
    """What can be told before anything runs.

    Raises:
        UserError: there will be no such outcome.
    """
    settings = config.ablate
    if settings.outcome is None:
        return
    known = outcomes_of(
        settings.level, [p.id for p in select(selection_of(config.constitution)).principles]
    )
    if str(settings.outcome).partition(" (")[0] not in known and not str(
        settings.outcome
    ).startswith(OWN_TESTS):
        what = (
            f"there is no outcome {settings.outcome!r}.{did_you_mean(str(settings.outcome), known)}"
        )
        fix = (
            f"choose from: {', '.join(known)}; other levels have other outcomes (docs/ablation.md)"
        )
        raise UserError(what, where="ablate.outcome", fix=fix)


def _own(config: DictConfig) -> DictConfig:
    """The config without Hydra's own part."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


@contextmanager
def _told(console: Console) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        show_error(error, console)
        sys.exit(2)
    except (
        HydraException,
        OmegaConfBaseException,
    ) as error:  # a swept override that does not compose
        show_error(as_user_error(error), console)
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
