"""A judge matrix made of numbers, as an artifact of a finished `judge` step, and a stage run over
it.
"""

from pathlib import Path
from typing import Any

from stages import STAGES
from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.rows import Judgement, Pair
from stages.runtime.typed_config import parse_config
from tests.running import AloneContext

Margins = dict[str, tuple[float, float]]  # by principle: (margin_ab, margin_ba)


def cells(
    name: str, margins: Margins, texts: tuple[str, str] = ("one", "other"), request: str = "do it"
) -> list[Judgement]:
    """One pair's row of the matrix."""
    return [
        Judgement(
            id=f"{name}|{principle}",
            pair_id=name,
            response_a_id=name.partition("|")[0],
            response_b_id=name.partition("|")[2],
            prompt_id=request,
            kind="red_team",
            prompt=[{"role": "user", "content": request}],
            response_a=texts[0],
            response_b=texts[1],
            principle=principle,
            margin_ab=ab,
            margin_ba=ba,
            model="0" * 16,
        )
        for principle, (ab, ba) in margins.items()
    ]


def artifact(root: Path, step: str, rows: list[Any], row_type: type) -> Artifact:
    """A finished step that holds `rows`."""
    folder = root / f"{step}-{len(list(root.glob('*')))}"
    folder.mkdir(parents=True)
    return finish_artifact(folder, step, {}, Result(rows=rows, row_type=row_type), {})


def constitution(path: Path, names: list[str], opposites: bool = True) -> dict[str, str]:
    """A set of these ids, each with its opposite."""
    lines = ["name: test-set", "principles:"]
    for name in names:
        lines += [f"  - id: {name}", f"    text: Keep {name}."] + [
            f"    opposite: Break {name}."
        ] * opposites
    path.write_text("\n".join(lines) + "\n")
    return {"name": str(path)}


def run_stage(
    stage: str, inputs: dict[str, Artifact], options: dict[str, Any], seed: int = 0
) -> Result:
    """Run a stage that asks no generator."""
    import importlib

    module = importlib.import_module(STAGES[stage])
    return module.run(
        parse_config(module.Config, options, "step 'it'"),
        inputs,
        AloneContext("it", seed),
    )


def judged_pairs(
    root: Path,
    matrix: list[Judgement],
    seed: int = 0,
    names: list[str] | None = None,
    **options: Any,
) -> Result:
    """The `judged_pairs` stage over a matrix, under a constitution of the principles in it (or
    `names`).
    """
    root.mkdir(exist_ok=True)
    found = names or list(dict.fromkeys(cell.principle for cell in matrix))
    chosen = constitution(root / "set.yaml", found) | options.pop("constitution", {})
    return run_stage(
        "judged_pairs",
        {"judgements": artifact(root, "judge", matrix, Judgement)},
        {"constitution": chosen, **options},
        seed,
    )


def pairs(result: Result) -> dict[str, Pair]:
    return {row.id: row for row in result.rows or []}
