"""The report of a sweep: one HTML page beside `results.json`, styled like a run's report.

It shows the largest effect, a forest of all variants by outcome, the effect of each variant on each
outcome, which principles are redundant, ratings where policies were compared in pairs, and what
each job ran, with links to its own report. Outcomes that were not measured are left out. Like every
page of Credo it loads nothing and works from disk.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.ablation.compare import Comparison
from stages.ablation.jobs import Job
from stages.report import page
from stages.report.sweep.charts import rating_chart, sign
from stages.report.sweep.job_table import job_table
from stages.report.sweep.tables import redundancy_table
from stages.report.sweep.view import comparison_view
from stages.runtime.pipeline.settings import Ablate

NAME = "report.html"
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
        texts: the texts of the principles, by id.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / NAME
    page.write(
        path,
        HERE / "sweep.html.jinja",
        [HERE / "sweep.js"],
        [HERE / "sweep.css"],
        title=title,
        v=comparison_view(comparison, jobs, settings, texts),
        redundancy=redundancy_table(comparison.redundancy),
        ratings=rating_chart(comparison.ratings),
        sign=sign,
        lines=job_table(jobs, folder.parent, path),
    )
    return path
