"""Stage `judge_quality`: a judge against people, and how to detect a judge of places only."""

from dataclasses import replace
from math import log
from pathlib import Path

import pytest

from stages.evaluation.judge_quality import Config, run
from stages.guards.errors import UserError
from stages.runtime.artifacts import Result
from stages.runtime.rows import Judgement, Pair
from tests.evaluation.fakes import artifact, context, model, plain
from tests.running import write_constitution
from tests.scripted import ScriptedGenerator

BASE = Pair(
    id="",
    prompt_id="",
    chosen_id="",
    rejected_id="",
    kind="helpful",
    prompt=[],
    chosen="",
    rejected="",
    label=1.0,
    margin=0.0,
    principles=[],
    margins_ab=[],
    margins_ba=[],
)


def pairs(count: int = 40) -> list[Pair]:
    return [
        replace(
            BASE,
            id=f"p{i}",
            prompt_id=f"r{i // 2}",
            kind=("helpful", "harmless")[i // 2 % 2],
            prompt=[{"role": "user", "content": f"request {i // 2}"}],
            chosen=f"good {i}",
            rejected=f"bad {i}",
        )
        for i in range(count)
    ]


def judge(pull: float):
    """Believes in good answers by one nat, and in the first place by `pull`."""

    def scores(messages, options):
        lines = messages[-1]["content"].splitlines()
        first = next(line for line in lines if line.startswith("Response A: "))
        margin = (1.0 if "good" in first else -1.0) + pull
        return [-log(1 + 2.718281828**-margin), -log(1 + 2.718281828**margin)]

    return ScriptedGenerator(scores=scores)


def run_stage(folder: Path, generator, rows, names=("judge",), **options) -> Result:
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {"pairs": artifact(folder, "pairs", Result(rows=rows, row_type=Pair))}
    inputs |= {name: model(folder, name) for name in names}
    with context(folder, generator) as stage_context:
        return run(Config(**options), inputs, stage_context)


def test_a_good_judge_and_one_with_a_position_bias(tmp_path):
    good = run_stage(tmp_path / "good", judge(0.0), pairs()).metrics
    measures = good["models"]["judge"]
    assert measures["accuracy"]["value"] == measures["consistent"]["value"] == 1
    assert measures["flips"]["value"] == 0
    assert measures["accuracy"]["n"] == 20 and measures["accuracy"]["low"] > 0.8, (
        "prompts are counted, not pairs"
    )
    assert (
        set(measures) >= {"kind helpful", "kind harmless"} and good["kappa"]["judge"]["value"] == 1
    )
    blind = run_stage(tmp_path / "blind", judge(3.0), pairs())
    measures = blind.metrics["models"]["judge"]
    assert (measures["chosen_first"]["value"], measures["chosen_second"]["value"]) == (1, 0)
    assert (
        measures["flips"]["value"] == measures["first_place"]["value"] == 1
        and measures["consistent"] is None
    )
    assert measures["accuracy"]["value"] == 1, (
        "the margin of both orders still shows its preference"
    )
    plain(blind.metrics)
    assert (
        len(blind.rows) == 40
        and isinstance(blind.rows[0], Judgement)
        and blind.rows[0].margin_ba == pytest.approx(-2)
    )


def test_principles_are_averaged_and_reported(tmp_path):
    constitution = {"name": str(write_constitution(tmp_path / "set.yaml", 2))}
    from stages.runtime.typed_config import parse_config

    config = parse_config(Config, {"constitution": constitution}, "")
    result = run_stage(tmp_path / "a", judge(0.5), pairs(4), constitution=config.constitution)
    assert len(result.rows) == 8 and {"principle p0", "principle p1"} <= set(
        result.metrics["models"]["judge"]
    )


def test_two_judges_on_the_same_pairs(tmp_path):
    metrics = run_stage(tmp_path, judge(0.0), pairs(), names=("base", "tuned")).metrics
    assert metrics["differences"]["tuned"]["accuracy"]["value"] == 0
    assert metrics["krippendorff"]["judges"]["value"] == 1.0  # the same judge twice
    assert (
        metrics["krippendorff"]["judges_and_people"]["n"] == metrics["krippendorff"]["judges"]["n"]
    )


def test_pairs_without_a_preference(tmp_path):
    rows = [replace(row, label=0.5) for row in pairs(2)]
    with pytest.raises(UserError, match="no pair with a preference"):
        run_stage(tmp_path / "a", judge(0.0), rows)
    result = run_stage(tmp_path / "b", judge(0.0), [*rows[:1], *pairs(4)[1:]])
    assert [d.reason for d in result.dropped] == ["nothing to prefer"]
    with pytest.raises(UserError, match="there is no model to ask"):
        run_stage(tmp_path / "c", judge(0.0), pairs(2), names=())
