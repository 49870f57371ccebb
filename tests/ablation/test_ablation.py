"""Ablation as one command, on a scripted judge: nothing is asked that was asked before, nothing
done is lost.
"""

import csv
import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages.ablation.jobs import read_jobs
from stages.ablation.levels import (
    check_variant_has_effect,
    prepare_job,
    steps_of_full_set,
    variants_of,
)
from stages.ablation.outcomes import job_results
from stages.guards.errors import UserError
from stages.preferences.aggregate import combine_orders
from stages.runtime.rows import Judgement
from stages.runtime.store import CallStore
from stages.sources.conversations import content_id
from tests.ablation.sweeping import ROOT, arguments, credo, last_sweep, results, write_set

ABLATE = ("-m", "experiment=ablate")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A folder in which the whole set was judged, as any run of the pipeline leaves it."""
    folder = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as patch:
        code, generator = credo(patch, *arguments(folder), "until=pairs")
    assert code == 0 and generator.calls > 0
    return folder


@pytest.mark.slow
def test_leave_one_out_of_12_asks_no_judge_and_trains_nothing(judged, monkeypatch, capfd):
    code, generator = credo(monkeypatch, *arguments(judged), *ABLATE)
    assert code == 0
    assert generator.calls == 0
    printed = capfd.readouterr()
    assert (
        printed.err.count("Forecast") == 1
        and "13 jobs: 12 steps to run, 0 of them trainings; 0 rows need new calls." in printed.err
    )
    assert "p is of the claim that more labels change than the margin" in printed.err
    assert "Ablation at level labels" in printed.out
    sweep = last_sweep(judged)
    summary = results(sweep)
    assert [v["variant"] for v in summary["variants"]] == [
        "full",
        *(f"without:p{i}" for i in range(12)),
    ]
    assert (
        summary["missing"] == []
        and summary["variants"][3]["target"] == "p2"
        and summary["variants"][3]["kind"] == "leave_one_out"
    )
    changed = [v["outcomes"]["changed"]["effect"]["value"] for v in summary["variants"][1:]]
    assert changed == pytest.approx(expected(judged)) and max(changed) > 0
    with (sweep / "ablation" / "rows.csv").open() as stream:
        rows = [
            row
            for row in csv.DictReader(stream)
            if row["outcome"] == "changed" and row["variant"] == "without:p2"
        ]
    assert len(rows) == 20 and sum(float(r["value"]) for r in rows) / 20 == pytest.approx(
        changed[2]
    )
    with (sweep / "ablation" / "prompts.csv").open() as stream:
        texts = {row["prompt_id"]: row["text"] for row in csv.DictReader(stream)}
    assert texts.keys() >= {row["prompt_id"] for row in rows}
    assert texts == {
        content_id([{"role": "user", "content": text}], "a test"): text for text in texts.values()
    }
    assert (sweep / "ablation" / "effects.csv").read_text().count("leave_one_out") == 12 * 5
    ran = json.loads((sweep / "3" / "run.json").read_text())
    assert (
        ran["variant"] == "without:p2"
        and ran["seed"] == 0
        and ran["constitution"]["name"].endswith("set.yaml")
    )
    assert {name for name, step in ran["steps"].items() if not step["reused"]} == {
        "base",
        "pairs",
    } - {"base"}


def expected(folder: Path) -> list[float]:
    """The share of labels that change, straight from the matrix: `rlaif` takes the mean over
    principles.
    """
    cells: dict[str, dict[str, float]] = {}
    (made,) = (folder / "runs" / "artifacts").glob("judgements-*/rows.parquet")
    from stages.runtime.row_files import read_rows

    for row in read_rows(made, Judgement):
        clipped = max(-4.0, min(4.0, combine_orders(row.margin_ab, row.margin_ba, "swap_average")))
        cells.setdefault(row.pair_id, {})[row.principle] = clipped
    signs = [
        {i: sum(v for p, v in pair.items() if p != f"p{i}") > 0 for i in range(-1, 12)}
        for pair in cells.values()
    ]
    return [sum(pair[i] != pair[-1] for pair in signs) / len(signs) for i in range(12)]


@pytest.mark.long
def test_the_same_command_again_computes_nothing(judged, monkeypatch):
    for _ in range(2):
        assert credo(monkeypatch, *arguments(judged), *ABLATE, "variant=full,only-tag:one")[0] == 0
    ran = json.loads((last_sweep(judged) / "1" / "run.json").read_text())
    assert all(step["reused"] for name, step in ran["steps"].items() if name != "base")


@pytest.mark.long
def test_a_plan_stops_after_the_forecast(judged, monkeypatch, capfd):
    before = len(list((judged / "runs" / "artifacts").iterdir()))
    code, generator = credo(
        monkeypatch, *arguments(judged), *ABLATE, "plan=true", "ablate.kinds=[weights]"
    )
    assert code == 0 and generator.calls == 0
    assert "25 jobs: 24 steps to run" in capfd.readouterr().err
    assert len(list((judged / "runs" / "artifacts").iterdir())) == before


@pytest.mark.slow
def test_a_job_that_fails_is_named_and_the_others_count(judged, monkeypatch, capfd):
    overrides = "variant=full,reworded:p1:0,without:p1"
    code, _ = credo(monkeypatch, *arguments(judged), *ABLATE, overrides)
    printed = capfd.readouterr()
    assert (
        code == 2
        and "the principle 'p1' has 0 rewordings" in printed.err
        and "reworded:p1:0 seed 0" in printed.out
    )
    summary = results(last_sweep(judged))
    assert [v["variant"] for v in summary["variants"]] == ["full", "without:p1"]
    assert [m["variant"] for m in summary["missing"]] == ["reworded:p1:0"]


@pytest.mark.long
def test_a_rewording_is_judged_and_nothing_else_is(judged, monkeypatch, tmp_path, capfd):
    more = {"p1": "    rewordings: [Keep to the rule that has the number 1.]"}
    write_set(judged / "reworded.yaml", 6, **more)
    overrides = [
        f"constitution.name={judged / 'reworded.yaml'}",
        "ablate.kinds=[reworded,opposite]",
        "pipeline.steps.judge_examination=null",  # of a set of other principles it asks anew
    ]
    code, generator = credo(monkeypatch, *arguments(judged), *overrides, *ABLATE)
    assert code == 0
    assert len(generator.chosen) == 20 * 2, "both orders of every pair, under one principle"
    assert (
        all("the number 1." in messages[-1]["content"] for messages, _ in generator.chosen)
        and not generator.completed
    )
    assert "rows need new" in capfd.readouterr().err
    kinds = [v["kind"] for v in results(last_sweep(judged))["variants"]]
    assert kinds.count("opposite") == 6 and kinds.count("reworded") == 1


@pytest.mark.long
def test_seeds_multiply(judged, monkeypatch, capfd):
    code, _ = credo(
        monkeypatch, *arguments(judged), *ABLATE, "seed=0,1", "ablate.kinds=[without_tag]"
    )
    assert (
        code == 0 and "intervals over 20" in capfd.readouterr().out
    )  # a request's seeds are one observation
    (one, *_) = [
        v for v in results(last_sweep(judged))["variants"] if v["variant"] == "without-tag:one"
    ]
    assert one["seeds"] == ["0", "1"] and one["outcomes"]["changed"]["effect"]["n_seeds"] == 2


@pytest.mark.long
def test_set_against_set(judged, monkeypatch, capfd):
    write_set(judged / "short.yaml", 5)
    both = f"constitution.name={judged / 'set.yaml'},{judged / 'short.yaml'}"
    overrides = [one for one in arguments(judged) if not one.startswith("constitution.name")]
    code, _ = credo(monkeypatch, *overrides, both, *ABLATE)
    assert (
        code == 2
        and "the variants of one set are not variants of another" in capfd.readouterr().err
    )
    code, _ = credo(monkeypatch, *overrides, both, *ABLATE, "ablate.kinds=[full]")
    assert code == 0
    first, second = results(last_sweep(judged))["variants"]
    assert (
        second["reference"] == first["variant"] != second["variant"]
        and "short.yaml" in second["variant"]
    )


@pytest.mark.long
def test_sets_that_differ_have_an_effect_and_a_page(tmp_path, monkeypatch, capfd):
    """No two principles in common, so half of the labels differ; `margin` is shown in logits."""
    overrides = [one for one in arguments(tmp_path, 60) if not one.startswith("constitution.name")]
    overrides.append("pipeline.steps.judge_examination.require=anything")  # it is deaf to opposites
    whole = f"constitution.name={tmp_path / 'set.yaml'}"
    code, _ = credo(
        monkeypatch,
        *overrides,
        whole,
        *ABLATE,
        "ablate.kinds=[full]",
        "constitution.drop=[p0,p1,p2,p3,p4],[p5,p6,p7,p8]",
    )
    printed = capfd.readouterr()
    assert code == 0, printed.err
    second = results(last_sweep(tmp_path))["variants"][1]
    assert second["outcomes"]["changed"]["finding"]["verdict"] == "differs" and "p5,p6" in "".join(
        printed.out.split()
    )
    page = (last_sweep(tmp_path) / "ablation" / "report.html").read_text()
    assert "cannot tell" in page and "p5,p6" in "".join(page.split())
    code, _ = credo(
        monkeypatch, *overrides, whole, *ABLATE, "variant=full,without:p0", "ablate.outcome=support"
    )
    printed = capfd.readouterr()
    assert code == 0 and "in logits" in printed.out
    page = (last_sweep(tmp_path) / "ablation" / "report.html").read_text()
    assert "cannot tell" in page and "logits" in page


@pytest.mark.long
def test_jobs_with_their_own_call_stores(judged, monkeypatch, capfd):
    """What docs/ablation.md advises for several machines: a store in each job's folder."""
    own = [one for one in arguments(judged) if not one.startswith("store=")]
    code, _ = credo(
        monkeypatch,
        *own,
        *ABLATE,
        "variant='full','without:p1'",
        "store=${hydra:runtime.output_dir}/calls.sqlite",
    )
    assert code == 0, capfd.readouterr().err
    assert {path.parent.name for path in last_sweep(judged).glob("*/calls.sqlite")} == {"0", "1"}


@pytest.mark.long
def test_requests_that_seeds_do_not_share_are_reported(tmp_path, monkeypatch, capfd):
    few = [
        "+data.red_team.shuffle=true",
        "data.red_team.limit=20",
        "+data.helpful.shuffle=true",
        "data.helpful.limit=20",
    ]
    code, _ = credo(
        monkeypatch, *arguments(tmp_path, 60), *few, *ABLATE, "variant=full,without:p1", "seed=0,1"
    )
    printed = capfd.readouterr()
    assert code == 0 and results(last_sweep(tmp_path))["variants"][1]["seeds"] == ["0", "1"], (
        printed.err
    )


def test_a_pipeline_that_no_variant_reaches_is_reported():
    OmegaConf.register_new_resolver("variants", variants_of, replace=True)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose(
            "config",
            ["pipeline=human_reward_model", "variant=without:harm-1", "ablate.level=reward"],
        )
    with pytest.raises(UserError, match="changes no step of this pipeline at level 'reward'"):
        settings, _, steps = prepare_job(config)
        check_variant_has_effect(settings, steps, steps_of_full_set(config))


MISTAKES = {
    "kind": (
        ["ablate.kinds=[leave_one_ot]"],
        "no kind 'leave_one_ot'. Did you mean 'leave_one_out'",
    ),
    "nothing of the kind": (["ablate.kinds=[reworded]"], "no principle has `rewordings`"),
    "level": (["ablate.level=reward"], "ends in steps of the stage 'reward_accuracy'"),
    "set": (["constitution.name=hhhh"], "there is no constitution 'hhhh'"),
    "outcome": (
        ["variant=full,without:p1", "ablate.outcome=changes"],
        "no outcome 'changes'. Did you mean 'changed'",
    ),
    "no full set": (["variant=without:p1,without:p2"], "does not contain the full set"),
    "variant": (["variant=full,witout:p1"], "there is no variant 'witout:p1'"),
    "a margin in points": (["ablate.margin=5"], "less than 1"),
    "no list": (["ablate.kinds=only_one"], "write 'ablate.kinds=[only_one]'"),
    "levels at once": (["ablate.level=labels,policy"], "ablate.level cannot be swept over"),
    "folders": (
        ["hydra.sweep.subdir=job_${hydra:job.num}"],
        "their folders cannot have other names",
    ),
    "a swept name": (["pipeline=rlaif,nope"], "there is no 'pipeline/nope'"),
    "a swept key": (["data.red_team.limt=1,2"], "limt"),
    "no evaluation": (
        ["variant=full,without:p1", "ablate.level=policy", "until=pairs"],
        "no such step is run",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_message(judged, monkeypatch, capfd, name):
    overrides, message = MISTAKES[name]
    code, _ = credo(monkeypatch, *arguments(judged), *ABLATE, *overrides)
    shown = " ".join(capfd.readouterr().err.split())
    assert code == 2 and message in shown and "Traceback" not in shown, shown


def plan_of(folder: Path, *overrides: str):
    """Which steps a run would reuse, and the calls that the others would send."""
    import asyncio
    import io

    from stages.guards.console import open_console
    from stages.runtime.calls import Engines
    from stages.runtime.pipeline.runner import Runner

    OmegaConf.register_new_resolver("variants", variants_of, replace=True)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        settings, _, steps = prepare_job(compose("config", [*arguments(folder), *overrides]))
    store = CallStore(Path(settings.store))
    try:
        with asyncio.Runner() as loop:
            engines = Engines("transformers", settings.generator.options)
            runner = Runner(
                Path(settings.runs_dir) / "artifacts",
                0,
                store,
                engines,
                open_console(file=io.StringIO()),
                loop,
            )
            return {p.step.name: p for p in runner.plan(steps)}
    finally:
        store.close()


def test_at_level_policy_only_what_differs_is_made_again(tmp_path, monkeypatch):
    method = ["pipeline=stable_alignment", "until=ratings"]
    assert credo(monkeypatch, *arguments(tmp_path), *method)[0] == 0
    assert all(p.artifact for p in plan_of(tmp_path, *method).values())
    plan = plan_of(tmp_path, *method, "variant=without:p1")
    assert {name for name, p in plan.items() if not p.artifact} == {"revisions", "ratings"}
    assert plan["revisions"].reason.startswith("constitution.p1 is gone")
    forecast = plan["revisions"].forecast
    assert forecast and 0 < forecast.open_rows < forecast.rows / 2, (
        "rows that never drew p1 are all in the store"
    )
    weighted = plan_of(tmp_path, *method, "variant=weight:p1:1")
    assert all(p.artifact for p in weighted.values()), (
        "a variant that changes nothing makes nothing again"
    )


def test_without_m_one_variant_is_run(judged, monkeypatch, capfd):
    code, _ = credo(monkeypatch, *arguments(judged), "experiment=ablate", "variant=without:p3")
    assert code == 0 and "Without -m only the variant 'without:p3' is run" in capfd.readouterr().err


@pytest.mark.long
def test_a_selection_too_is_arithmetic_on_the_whole_matrix(judged, monkeypatch, capfd):
    chosen = "constitution.only=[p0,p1,p2,p3,p4]"
    code, generator = credo(
        monkeypatch, *arguments(judged), *ABLATE, chosen, "pipeline=stable_alignment", "plan=true"
    )
    assert code == 2 and "'judged_pairs', and this pipeline has none" in capfd.readouterr().err
    code, generator = credo(monkeypatch, *arguments(judged), *ABLATE, chosen)
    assert code == 0 and generator.calls == 0
    assert [v["variant"] for v in results(last_sweep(judged))["variants"]] == [
        "full",
        *(f"without:p{i}" for i in range(5)),
    ]
    plan = plan_of(judged, "ablate.level=labels", chosen, "pipeline=cai", "ablate.before=selected")
    assert set(plan["revisions"].payload["options"]["constitution"]) == {f"p{i}" for i in range(5)}
    plan = plan_of(judged, "ablate.level=labels", chosen, "pipeline=cai")
    assert len(plan["revisions"].payload["options"]["constitution"]) == 12
    assert set(plan["pairs"].payload["options"]["constitution"]) == {f"p{i}" for i in range(5)}


@pytest.mark.long
def test_values_are_shares(judged, monkeypatch):
    assert credo(monkeypatch, *arguments(judged), *ABLATE, "variant=full,without:p0")[0] == 0
    full, other = read_jobs(last_sweep(judged), [["variant=full"], ["variant=without:p0"]])
    assert set(job_results("labels", full, full)["changed"].values()) == {0.0}
    summary = job_results("labels", other, full)
    assert all(
        summary["changed"][p] == summary["flipped"][p] + summary["lost"][p] + summary["gained"][p]
        for p in summary["changed"]
    )
