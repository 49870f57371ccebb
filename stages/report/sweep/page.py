"""The report of a sweep: one HTML page beside `results.json`, with the looks of a run's report.

It shows the largest effect, a forest of all variants by outcome, what each principle did to each
outcome, which principles are redundant, ratings where policies were compared in pairs, and what
each job ran, with links to its own report. What was not measured is not shown. Like every page of
Credo it loads nothing and works from disk.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from stages.ablation.compare import Comparison
from stages.ablation.jobs import Job
from stages.report import page
from stages.report.sweep.charts import rating_chart, sign
from stages.report.sweep.job_table import job_table
from stages.report.sweep.tables import rating_bar, redundancy_table
from stages.report.sweep.view import view
from stages.runtime.artifacts import write_atomically
from stages.runtime.errors import UserError
from stages.runtime.pipeline.config import Ablate

NAME = "report.html"
VERDICTS = ("works", "equivalent", "undecided")
HERE = Path(__file__).resolve().parent


def write_report(
    folder: Path,
    comparison: Comparison,
    settings: Ablate,
    jobs: Sequence[Job],
    texts: Mapping[str, str],
    title: str,
) -> Path:
    """Write the page `folder`/report.html of the sweep that ran in the folder above.

    Args:
        texts: the principles', by id.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / NAME
    ratings = rating_chart([rating_bar(rating) for rating in comparison.ratings])
    html = page.render(
        HERE / "sweep.html.jinja",
        [HERE / "sweep.js"],
        [HERE / "sweep.css"],
        title=title,
        v=view(
            comparison,
            jobs,
            settings.margin,
            settings.confidence,
            texts,
        ),
        redundancy=redundancy_table(comparison.redundancy),
        ratings=Markup(ratings),
        signs={verdict: Markup(sign(verdict)) for verdict in VERDICTS},
        work=job_table(jobs, folder.parent, path),
    )
    try:
        write_atomically(path, html)
    except OSError as error:
        raise UserError(
            f"the report cannot be written: {error.strerror}",
            where=str(path),
            fix="free some disk space and give the same command again",
        ) from None
    return path
