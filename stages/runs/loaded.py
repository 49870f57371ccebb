"""A run in a notebook: rows as pandas or datasets, effects and measures as frames.

In: the name of a run, as the command calls it. Out: a `LoadedRun`. Nothing is computed: the frames
hold what the run recorded, shares as fractions from 0 to 1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.guards.errors import UserError, refuse_unknown
from stages.runs.headline import headline
from stages.runs.records import LAST, RunRecord, list_runs, open_run
from stages.runtime.artifacts import DROPPED, ROWS, Artifact
from stages.runtime.manifest import check_files

if TYPE_CHECKING:
    import datasets
    import pandas as pd

EVALUATE = "evaluate"
RUNS = "runs"


@dataclass(frozen=True)
class LoadedRun:
    """A run and the artifacts of its steps."""

    record: RunRecord
    """Its folder, config, state and times."""
    steps: dict[str, Artifact]
    """The finished steps in their order, as far as their folders are still there."""

    def frame(self, step: str) -> "pd.DataFrame":
        """Return the rows of a step, a column for each field.

        Raises:
            UserError: there is no such step, it holds no rows, or they are damaged.
        """
        import pandas

        return pandas.read_parquet(self._file(step, ROWS))

    def dropped(self, step: str) -> "pd.DataFrame":
        """Return the dropped rows of a step: `id`, `reason` and `detail`; empty if there are none.

        Raises:
            UserError: there is no such step, or the file is damaged.
        """
        import pandas

        if not self.step(step).manifest.dropped:
            return pandas.DataFrame(columns=["id", "reason", "detail"])
        return pandas.read_parquet(self._file(step, DROPPED))

    def dataset(self, step: str) -> "datasets.Dataset":
        """Return the rows of a step as a dataset.

        Raises:
            UserError: as `frame`.
        """
        import datasets

        return datasets.Dataset.from_pandas(self.frame(step), preserve_index=False)

    def measures(self, step: str = "") -> "pd.DataFrame":
        """Return what an evaluation measured: policy, measure, value, low, high, n.

        Args:
            step: the evaluation; "": the last one.

        Raises:
            UserError: there is none.
        """
        metrics = self._evaluation(step).metrics
        rows = []
        for policy, facts in metrics["policies"].items():
            measured = {"words": facts["words"], **facts["measures"]}
            rows += list(_estimates(measured, policy=policy))
        return _as_frame(rows, ["policy", "measure"])

    def principles(self, step: str = "") -> "pd.DataFrame":
        """Return the violations of each principle: policy, principle, source, value, low, high, n.

        Args:
            step: the evaluation; "": the last one.

        Raises:
            UserError: there is none.
        """
        metrics = self._evaluation(step).metrics
        rows = []
        for policy, facts in metrics["policies"].items():
            for principle, sources in facts["principles"].items():
                for source, estimate in sources.items():
                    if estimate:
                        named = {"policy": policy, "principle": principle, "source": source}
                        rows.append(named | estimate)
        return _as_frame(rows, ["policy", "principle", "source"])

    def effects(self, step: str = "") -> "pd.DataFrame":
        """Return the paired differences: policy, against, measure, value, low, high, n, before,
        after, fell, rose and p; a principle's measure is `violates <id>`.

        Args:
            step: the evaluation; "": the last one.

        Raises:
            UserError: there is none.
        """
        metrics = self._evaluation(step).metrics
        rows = []
        for policy, others in metrics["differences"].items():
            for against, facts in others.items():
                changes = {"words": facts["words"], **facts["measures"]}
                for principle, change in facts["principles"].items():
                    changes[f"violates {principle}"] = change
                rows += list(_estimates(changes, policy=policy, against=against))
        return _as_frame(rows, ["policy", "against", "measure"])

    def curve(self, step: str) -> "pd.DataFrame":
        """Return the curve of a training, indexed by its step.

        Raises:
            UserError: there is no such step, or it trained nothing.
        """
        import pandas

        history = self.step(step).metrics.get("history")
        if not history:
            raise UserError(
                f"step {step!r} recorded no curve",
                where=str(self.record.folder),
                fix="give a step that trains",
            )
        return pandas.DataFrame(history).set_index("step")

    def tables(self, step: str) -> list["pd.DataFrame"]:
        """Return the tables of a step as the terminal showed them; their cells are texts.

        Raises:
            UserError: there is no such step.
        """
        import pandas

        tables = self.step(step).manifest.tables
        return [pandas.DataFrame(table.rows, columns=table.columns) for table in tables]

    def step(self, name: str) -> Artifact:
        """Return the artifact of a step.

        Raises:
            UserError: there is no such step.
        """
        refuse_unknown([name], self.steps, "the run has no finished step", "step")
        return self.steps[name]

    def _evaluation(self, step: str) -> Artifact:
        if step:
            return self.step(step)
        for artifact in reversed(self.steps.values()):
            if artifact.stage == EVALUATE:
                return artifact
        raise UserError(
            "the run evaluated no policies",
            where=str(self.record.folder),
            fix=f"give a run with a step of stage {EVALUATE}",
        )

    def _file(self, step: str, name: str) -> Path:
        artifact = self.step(step)
        check_files(artifact.directory, artifact.manifest, name, whole=True)
        file = artifact.directory / name
        if not file.is_file():
            raise UserError(
                f"step {step!r} holds no rows",
                where=str(artifact.directory),
                fix="give a step that makes rows",
            )
        return file


def load_run(name: str = LAST, runs_dir: str | Path = RUNS) -> LoadedRun:
    """Return a run: `last`, the end of its folder's name, its label or its path.

    Raises:
        UserError: there is no such run.
    """
    record = open_run(name, Path(runs_dir))
    return LoadedRun(record, record.artifacts())


def frame_of_runs(runs_dir: str | Path = RUNS) -> "pd.DataFrame":
    """Return a row for each run, the newest first.

    Raises:
        UserError: there is no such folder.
    """
    rows = []
    for record in list_runs(Path(runs_dir)):
        row = {
            "run": record.id,
            "label": record.label,
            "started": record.started,
            "pipeline": record.pipeline,
            "constitution": record.constitution,
            "variant": record.variant or "full",
            "seed": record.seed,
            "state": record.state,
            "seconds": record.facts.get("seconds"),
            "result": headline(record),
            "folder": str(record.folder),
        }
        rows.append(row)
    return _as_frame(rows, ["run"])


def _estimates(
    measured: Mapping[str, Any],
    **names: str,
) -> Iterator[dict[str, Any]]:
    for measure, estimate in measured.items():
        if estimate:
            yield {**names, "measure": measure, **estimate}


def _as_frame(
    rows: list[dict[str, Any]],
    first: list[str],
) -> "pd.DataFrame":
    import pandas

    return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=first)
