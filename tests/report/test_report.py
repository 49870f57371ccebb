"""The report page: what it shows, what it survives, and, where there is a browser, that its script
runs.
"""

import base64
import dataclasses
import json
import os
import re
import shutil
import subprocess
import zlib
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from stages.evaluation import evaluate
from stages.guards.errors import UserError
from stages.report import report
from stages.report.views import online_trainings
from stages.report.views.browse import Section
from stages.report.views.charts import ticks, trade_off
from stages.report.views.curves import Line, curve, overlay, running_mean
from stages.report.views.marks import mark_change
from stages.report.views.packed import as_script, pack
from stages.runtime.artifacts import Result
from stages.runtime.manifest import Table
from stages.runtime.rows import Dropped, Judgement, Pair, Rating, Response, Revision
from stages.runtime.typed_config import parse_config
from stages.statistics.intervals import paired_difference, share
from tests.evaluation import fakes
from tests.evaluation.fakes import response
from tests.scripted import ScriptedGenerator

TRUTH = {"ground_truth": "tests.evaluation.fakes:check", "resamples": 100}
HOSTILE = (
    "</script><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\"> {{ 7*7 }} \u2028<!--"
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "/usr/bin/chromium")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


class Page(HTMLParser):
    """Tags and text of a page; every tag must be closed in order."""

    VOID = ("meta", "input", "br", "wbr")

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.scripts, self.links, self._open = [], "", [], [], []
        self.feed(html)
        assert not self._open, self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif "style" not in self._open:
            self.text += data

    @property
    def rows(self):
        """What report.js makes of the packed rows."""
        blocks, sections = iter(self.scripts[1:-1]), []
        for head in json.loads(self.scripts[0]):
            entries = []
            for at in range(0, head["shown"], head["block"]):
                for i, line in enumerate(
                    zlib.decompress(base64.b64decode(next(blocks))).decode().split("\n"), at
                ):
                    entry = dict(zip(head["fields"], json.loads(line), strict=True))
                    for field, keys in head["nested"].items():
                        entry[field] = [
                            dict(zip(keys, values, strict=True)) for values in entry[field]
                        ]
                    entry["flags"] = [
                        name for name, bit in head["flags"].items() if head["of_flags"][i] & bit
                    ]
                    entry["principles"] = list(head["sets"][head["of_set"][i]])
                    entries.append(entry | {"kind": head["kinds"][head["of_kind"][i]]})
            sections.append(
                {name: head[name] for name in ("step", "kind", "total")} | {"entries": entries}
            )
        return sections


def test_tables_of_steps_without_a_section(tmp_path):
    table = Table("refusals: <b>", ["category", "base"], [["safe", "3.2 [1.7,6.2]"]])
    source = fakes.artifact(tmp_path, "refusals", Result(tables=[table]), stage="benchmark")
    with fakes.context(tmp_path) as context:
        report.run(report.Config(), {"refusals": source}, context)
        page = Page((context.directory / "report.html").read_text())
    assert "refusals: <b>" in page.text and "3.2 [1.7,6.2]" in page.text


def revision(i, text, previous, number=1, principle="harm", faulty=True):
    prompt = [{"role": "user", "content": f"request {i}"}]
    return Revision(
        id=f"{i}-r{number}",
        response_id=f"{i}-0",
        prompt_id=str(i),
        kind="red_team",
        prompt=prompt,
        response=text,
        original="poison",
        previous=previous,
        round=number,
        principle=principle,
        critique_request="?",
        critique="Fault: harm.",
        revision_request="!",
        faulty=faulty,
        model="m",
        seed=1,
    )


@pytest.fixture
def inputs(tmp_path):
    """A small whole run: revisions, judgements, pairs, ratings, a training and an evaluation with a
    judge.
    """
    judge = fakes.model(tmp_path)
    prompt = [{"role": "user", "content": "request 1"}]
    rounds = [
        revision(1, "tea", "poison"),
        revision(1, "tea", "tea", 2, "kind", False),
        revision(2, HOSTILE, "poison"),
    ]
    lost = [Dropped(id="9-0", reason=f"empty critique {HOSTILE}")]
    revisions = fakes.artifact(
        tmp_path, "revisions", Result(rows=rounds, row_type=Revision, dropped=lost), stage="revise"
    )
    cells = [
        Judgement(
            id=f"j{p}",
            pair_id="1|2",
            response_a_id="1",
            response_b_id="2",
            prompt_id="1",
            kind="red_team",
            prompt=prompt,
            response_a="tea",
            response_b="poison",
            principle=p,
            margin_ab=2.0,
            margin_ba=ba,
            model="m",
            rationale_ba=f"B is worse. {HOSTILE}" if ba < 0 else "",
        )
        for p, ba in (("harm", 1.0), ("kind", -1.0))
    ]
    judgements = fakes.artifact(
        tmp_path, "judgements", Result(rows=cells, row_type=Judgement), stage="judge"
    )
    pair = Pair(
        id="p",
        prompt_id="1",
        chosen_id="",
        rejected_id="",
        kind="red_team",
        prompt=prompt,
        chosen="tea",
        rejected="poison",
        label=0.9,
        margin=2.2,
        principles=["harm", "kind"],
        margins_ab=[2.0, 0.1],
        margins_ba=[1.0, 0.1],
        negated=[False, True],
        deciding="harm",
        noise=True,
        chosen_safe=True,
        rejected_safe=False,
    )
    ruled = dataclasses.replace(
        pair,
        id="q",
        override="disclaimer",
        deciding="",
        noise=False,
        chosen_safe=None,
        rejected_safe=None,
        principles=["harm"],
        negated=[],
    )
    pairs = fakes.artifact(
        tmp_path,
        "pairs",
        Result(rows=[pair, ruled], row_type=Pair),
        stage="judged_pairs",
        inputs={"judgements": judgements},
    )
    history = [{"step": i, "loss": 1 / i, "accuracy": 0.5, "margin": 0.1 * i} for i in range(1, 9)]
    trained = fakes.artifact(
        tmp_path, "rl", Result(metrics={"history": history}), stage="dpo", inputs={"pairs": pairs}
    )
    policies = {
        "base": fakes.responses(
            tmp_path,
            "base_answers",
            [response(str(i), "poison" if i % 2 else "tea") for i in range(20)],
        ),
        f"tuned {HOSTILE[:20]}": fakes.responses(
            tmp_path, "tuned_answers", [response(str(i), HOSTILE) for i in range(20)]
        ),
    }
    options = {
        "constitution": {"name": fakes.constitution(tmp_path)},
        "ground_truth": "tests.evaluation.fakes:check",
    }
    config = parse_config(evaluate.Config, options | {"resamples": 100}, "test")
    sources = policies | {"judge": judge, "judgements": judgements}
    with fakes.context(tmp_path, ScriptedGenerator(scores=fakes.judge_scores)) as context:
        result = evaluate.run(config, sources, context)
    evaluation = fakes.artifact(
        tmp_path,
        "evaluation",
        result,
        stage="evaluate",
        inputs=sources,
        options=evaluate.identity(config),
    )
    rated = [
        Rating(
            id=f"r{i}",
            response_id=f"r{i}",
            prompt_id="1",
            kind="red_team",
            prompt=prompt,
            response=text,
            score=score,
            principles=["harm", "kind"],
            negated=[False, True],
            scores=scores,
            model="m",
        )
        for i, (text, score, scores) in enumerate(
            [("poison", -1.5, [-2.0, -1.0]), (HOSTILE, 0.25, [])]
        )
    ]
    ratings = fakes.artifact(tmp_path, "ratings", Result(rows=rated, row_type=Rating), stage="rate")
    return {
        "evaluation": evaluation,
        "revisions": revisions,
        "pairs": pairs,
        "judgements": judgements,
        "ratings": ratings,
        "rl": trained,
    }


def write(tmp_path, inputs, new_steps=(), **options):
    config = parse_config(report.Config, options, "test")
    report.identity(config)
    with fakes.context(tmp_path) as context:
        context.new_steps = frozenset(new_steps)
        result = report.run(config, inputs, context)
        path = context.directory / "report.html"
    return result, path.read_text(encoding="utf-8"), path


def test_a_whole_run(tmp_path, inputs):
    result, html, path = write(tmp_path, inputs)
    page = Page(html)
    assert "Violations fell from 50.0 % to 0.0 %" in page.text
    for words in (
        "Violations of each principle",
        "How far to trust the judge",
        "Win rates",
        "Training",
        "What was done",
        "The rows",
    ):
        assert words in page.text
    assert "The response does no harm." in page.text
    assert "base_answers" in page.text  # no input of the report, found as an ancestor
    assert page.tags.count("svg") == 1 + 3 + 1  # the trade-off, the training's curves, the pipeline
    assert [s["kind"] for s in page.rows] == [
        "Revision",
        "Verdict",
        "Pair",
        "Judgement",
        "Rating",
        "Dropped",
    ]
    chain = page.rows[0]["entries"][0]
    assert [r["principle"] for r in chain["rounds"]] == ["harm", "kind"]
    assert set(chain["flags"]) == {"faulty", "changed"}
    assert page.rows[3]["entries"][0]["flags"] == ["flips"]
    assert result.tables[0].rows[0][0] == path.name
    assert result.metrics["entries"] == 2 + 20 + 2 + 1 + 1 + 1


def test_the_entries_of_a_pair_a_judgement_and_a_rating(tmp_path, inputs):
    page = Page(
        write(tmp_path, {name: inputs[name] for name in ("pairs", "judgements", "ratings")})[1]
    )
    (pair, ruled), (judged,), (rated,) = (section["entries"] for section in page.rows)
    assert (
        pair["under"] == [["harm", False], ["kind", True]]
        and pair["deciding"] == "harm"
        and pair["safe"] == [True, False]
    )
    assert (
        set(pair["flags"]) == {"changed", "opposite", "noise", "unsafe"}
        and pair["kind"] == "red_team"
    )
    assert set(ruled["flags"]) == {"changed", "ruled"} and ruled["under"] == [["harm", False]]
    assert judged["rationales"] == [["kind", "B", f"B is worse. {HOSTILE}"]]
    assert [r["score"] for r in rated["ratings"]] == ["0.250", "\u22121.500"]
    assert rated["ratings"][1]["under"] == [
        ["harm", False, "\u22122.000"],
        ["kind", True, "\u22121.000"],
    ]
    assert rated["principles"] == ["harm", "kind"]


def history(points=40, **curves):
    """Straight lines from one end to the other."""
    return [
        {"step": i + 1} | {name: a + (b - a) * i / (points - 1) for name, (a, b) in curves.items()}
        for i in range(points)
    ]


def online_steps(tmp_path, **manifest):
    calm = {
        "length": (20, 24),
        "refusals": (0.02, 0.05),
        "repetition": (0.01, 0.02),
        "kl": (0, 0.1),
        "term rules": (0, 1),
    }
    hacked = calm | {
        "refusals": (0.02, 0.6),
        "kl": (0, 3),
        "term <short>": (0, -1),
        "value_loss": (1, 0.1),
    }
    options = {
        "rewards": {
            "rules": {"term": "reward_model", "weight": 1.0},
            "<short>": {"term": "length", "weight": -0.1},
        }
    }
    steps = {}
    for name, curves in (("plain", hacked), ("guarded", calm)):
        metrics = {"history": history(reward=(0, 1), loss=(1, 0), **curves)}
        steps[name] = fakes.artifact(
            tmp_path,
            name,
            Result(metrics=metrics),
            stage="ppo",
            options=options | {"name": name},
            **manifest,
        )
    return steps


def test_online_trainings_lie_over_each_other_and_what_ran_away_is_reported(tmp_path):
    page = Page(write(tmp_path, online_steps(tmp_path))[1])
    assert (
        "refusals rose from 4 to 58 % and the KL to the start reached 69 nats an answer "
        "while the reward rose" in page.text
    )
    assert page.text.count("Tripped:") == 1
    assert "Nothing ran away while the reward rose from 0.04 to 0.96." in page.text
    assert page.text.count("runs away") == 2  # over the KL and over the refusals
    assert (
        page.tags.count("svg") == 5 + 2 + 3 + 1
    )  # reward and tripwires, terms, inside the trainer, the pipeline
    assert "<short> \u00d7 \u22120.1" in page.text and "rules \u00d7 1" in page.text
    assert "reward margin" not in page.text


def test_reward_and_gold_lie_in_one_picture_with_the_step_of_the_alarm(tmp_path):
    curves = history(reward=(0, 1), loss=(1, 0), **{"term gold": (5, 2)})
    stop = {"event": {"kind": "gold", "step": 12}, "limit": 3.5, "points": 50}
    watched = fakes.artifact(
        tmp_path,
        "watched",
        Result(metrics={"history": curves, "stop": stop}),
        stage="ppo",
        options={"stop": {"gold": "gold", "action": "stop"}},
    )
    page = Page(write(tmp_path, {"watched": watched})[1])
    assert "Reward and gold" in page.text and "watched: alarm at step 12" in page.text
    page = Page(write(tmp_path, online_steps(tmp_path))[1])
    assert "Reward and gold" not in page.text


def test_a_curve_is_drawn_in_units_of_its_own_noise():
    points = [(step, 5.0 + (step % 2)) for step in range(20)]
    drawn = [value for _, value in online_trainings.standardise(points)]
    noise = 0.5**0.5  # each difference is 1, and that of two independent values is larger by this
    assert drawn[:2] == pytest.approx([-0.5 / noise, 0.5 / noise])
    assert online_trainings.standardise([(0, 3.0), (1, 3.0)]) == [(0, 0.0), (1, 0.0)]
    assert online_trainings.standardise([]) == []


def test_an_online_training_of_a_few_steps_without_a_kl(tmp_path):
    few = fakes.artifact(
        tmp_path,
        "few",
        Result(metrics={"history": history(4, reward=(0, 1), length=(5, 50))}),
        stage="grpo",
    )
    assert "Too short to tell" in Page(write(tmp_path, {"few": few})[1]).text
    flat = fakes.artifact(
        tmp_path,
        "flat",
        Result(metrics={"history": history(reward=(1, 1), length=(5, 50))}),
        stage="grpo",
    )
    text = Page(write(tmp_path, {"flat": flat})[1]).text
    assert (
        "did not measurably rise (1.00 to 1.00), though answers grew from 7 to 48 tokens." in text
    )
    assert "Not logged: KL, refusals and repetition." in text


def test_a_training_has_the_colour_of_its_policy(tmp_path):
    steps = online_steps(tmp_path)
    answers = {
        name: fakes.artifact(
            tmp_path,
            f"{name}_answers",
            Result(rows=[response("1", "tea")], row_type=Response),
            inputs=sources,
        )
        for name, sources in (("base", {}), ("tuned", {"model": steps["guarded"]}))
    }
    config = parse_config(
        evaluate.Config, {"constitution": {"name": fakes.constitution(tmp_path)}} | TRUTH, "test"
    )
    with fakes.context(tmp_path) as context:
        result = evaluate.run(config, answers, context)
    evaluation = fakes.artifact(tmp_path, "evaluation", result, stage="evaluate", inputs=answers)
    colours = report._colours([evaluation], report.lineage([evaluation]))
    assert colours[steps["guarded"].fingerprint] == 1
    shades = online_trainings._shades(list(steps.values()), colours)
    assert shades == {steps["guarded"].fingerprint: 1, steps["plain"].fingerprint: 2}


def test_a_cost_model_with_two_sources(tmp_path):
    held = {
        "n": 400,
        "accuracy": 0.8625,
        "interval": [0.8254, 0.8927],
        "margin": 1.2,
        "sign_accuracy": 0.9038,
    }
    mix = {"pairs": {"n": 3120, "share": 0.78}, "human": {"n": 880, "share": 0.22}}
    metrics = {
        "history": history(loss=(1, 0)),
        "held_out": held,
        "mix": mix,
        "padding_wasted": 0.083,
    }
    page = Page(
        write(
            tmp_path,
            {"rm": fakes.artifact(tmp_path, "rm", Result(metrics=metrics), stage="reward_model")},
        )[1]
    )
    for words in (
        "86.2 % held-out preferences right",
        "82.5 to 89.3 %, 400 pairs",
        "90.4 % signs right",
        "8.3 % padding",
    ):
        assert words in page.text
    assert "pairs 78 % (3,120)" in page.text and "human 22 % (880)" in page.text


def test_reward_models_side_by_side(tmp_path):
    right, guess = ({str(i): float(i % 10 < tenths) for i in range(60)} for tenths in (9, 5))
    estimates = {
        name: share(values).plain() for name, values in (("read", right), ("plain", guess))
    }
    facts = {"sd": 1.0, "unread": 2, "scores": {}, "order_shift": 0.1, "order_matters": 0.05}
    models = {}
    for name, estimate in estimates.items():
        models[name] = facts | {
            "tests": {"flipped": estimate, "held out": estimate},
            "principles": {
                "harm": {"plain": estimate, "negated": estimate},
                "help": {"plain": estimate, "negated": None},
            },
        }
    difference = paired_difference(guess, right)
    metrics = {
        "cells": 99,
        "confidence": 0.95,
        "held_out": ["harm"],
        "truth": "judge",
        "doubts": {"cells": "", "pairs": ""},
        "models": models,
        "differences": {"plain": {"flipped": difference, "held out": difference}},
    }
    options = {"constitution": {"harm": {"text": "The response does no harm."}, "help": {}}}
    step = fakes.artifact(
        tmp_path,
        "rewards",
        Result(metrics=fakes.plain(metrics)),
        stage="reward_accuracy",
        options=options,
    )
    page = Page(write(tmp_path, {"rewards": step})[1])
    assert re.search(
        r"read is right in 90\.0\s% .*: \+40\.0 points \(.*\) against plain", page.text
    )
    assert "read less plain" in page.text and "2 questions did not fit its context" in page.text
    assert (
        page.text.count("held out of training") == 1 and "The response does no harm." in page.text
    )
    alone = metrics | {"models": {"read": models["read"]}, "differences": {}}
    none = {"constitution": None}  # a model of human preferences
    step = fakes.artifact(
        tmp_path, "alone", Result(metrics=fakes.plain(alone)), stage="reward_accuracy", options=none
    )
    assert "less" not in re.findall(r"<th>.*?</th>", write(tmp_path, {"alone": step})[1])


def test_what_the_run_made_and_what_it_reused(tmp_path, inputs):
    _, html, path = write(tmp_path, inputs, new_steps={"pairs", "rl", "judge"})
    page = Page(html)
    assert "The run that wrote this page made 2 of 8 steps: 3.0 s and 20 calls." in page.text
    assert "It reused 6, which took 9.0 s and 60 calls when they were made." in page.text
    groups = re.findall(r'<g class="step (\w+)">.*?<text class="label"[^>]*>(.*?)</text>', html)
    assert {name for origin, name in groups if origin == "made"} == {"pairs", "rl"}
    assert [name for origin, name in groups if origin == "external"] == ["judge"], (
        "a pointer to a model is neither"
    )
    assert len(groups) == 9
    assert "<td><b>rl</b></td><td>dpo</td><td>made</td>" in html
    assert "<td><b>revisions</b></td><td>revise</td><td>reused</td>" in html
    assert "pairs \u2192 rl" in page.text and "base_answers \u2192 evaluation (base)" in page.text
    if BROWSER:
        drawn, errors = browse(path, "", tmp_path)
        assert not errors and 'class="flow"' in drawn


def test_an_ancestor_with_a_damaged_manifest_is_left_out(tmp_path, inputs):
    for manifest in tmp_path.glob("base_answers-*/manifest.json"):
        manifest.write_text("{}")
    _, html, _ = write(tmp_path, inputs)
    text = Page(html).text
    assert "tuned_answers" in text and "base_answers" not in text
    note = "Left out of this page: the step behind 'base' of 'evaluation' (manifest.json is damaged"
    assert note in text, "and never without a word"


def test_nothing_is_loaded(tmp_path, inputs):
    _, html, _ = write(tmp_path, inputs)
    links = Page(html).links
    assert links and all(link.startswith("#") for link in links), "only places in the page"
    assert "default-src 'none'" in html
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|https?://", html)


def test_hostile_texts_stay_texts(tmp_path, inputs):
    _, html, _ = write(tmp_path, inputs, title=HOSTILE)
    page = Page(html)
    assert page.tags.count("script") == 2 + len(
        page.rows
    )  # the data, a block for each section, and ours
    assert "img" not in page.tags
    assert not any("\u2028" in script for script in page.scripts)
    assert page.rows[0]["entries"][1]["rounds"][0]["response"] == HOSTILE
    assert "{{ 7*7 }}" in page.text


@pytest.mark.parametrize(
    "text", [HOSTILE, "<!-- <script>", "]]>", "\\u003c", "\u2029", "\x00", "naïve 日本"]
)
def test_embedded_json_is_faithful_and_cannot_end_its_script(text):
    embedded = as_script([text])
    assert json.loads(embedded) == [text]
    assert not set(embedded) & set("<>&\u2028\u2029")


def test_rows_are_capped_and_the_number_is_reported(tmp_path, inputs):
    _, html, _ = write(tmp_path, inputs, max_rows=3)
    verdicts = next(s for s in Page(html).rows if s["kind"] == "Verdict")
    assert (len(verdicts["entries"]), verdicts["total"]) == (3, 20)


@pytest.mark.parametrize("number", [1, 499, 500, 501, 1200])
def test_packed_rows_come_out_as_they_went_in(number):
    flags = [["changed"], [], ["flips", "changed"]]
    entries = [
        {
            "id": str(i),
            "kind": "ab"[i % 2],
            "text": f"{i}\n{HOSTILE}",
            "principles": ["x", "y"][: i % 3],
            "flags": flags[i % 3],
            "rounds": [{"a": i, "b": None}] * (i % 2),
            "under": [["x", False]],
        }
        for i in range(number)
    ]
    packed = pack(Section("s", "Pair", number, entries))
    assert len(packed.blocks) == -(-number // 500)
    html = "".join(
        f"<script>{text}</script>" for text in (as_script([packed.head]), *packed.blocks, "")
    )
    assert Page(html).rows[0]["entries"] == [
        e | {"flags": sorted(e["flags"], key=list(packed.head["flags"]).index)} for e in entries
    ]


def test_missing_parts_are_not_shown(tmp_path, inputs):
    for name, unwanted in (
        ("rl", "Violations of each principle"),
        ("revisions", "Training"),
        ("evaluation", "Training"),
    ):
        page = Page(write(tmp_path, {name: inputs[name]})[1])
        assert unwanted not in page.text
        assert "What was done" in page.text
    empty = fakes.artifact(tmp_path, "none", Result(rows=[], row_type=Revision), stage="revise")
    assert Page(write(tmp_path, {"none": empty})[1]).rows == [
        {"step": "none", "kind": "Revision", "total": 0, "entries": []}
    ]


def test_tables_of_other_stages_are_shown(tmp_path):
    result = Result(
        metrics={}, tables=[Table("What it cost", ["policy", "seconds"], [["<b>ppo</b>", "361"]])]
    )
    html = write(
        tmp_path, {"bought": fakes.artifact(tmp_path, "bought", result, stage="compare_optimisers")}
    )[1]
    assert (
        "What it cost" in Page(html).text
        and "<b>ppo</b>" in Page(html).text
        and "<b>ppo</b>" not in html
    )


def test_one_policy_without_truth(tmp_path):
    policies = {
        "only": fakes.responses(tmp_path, "only", [response(str(i), "poison") for i in range(4)])
    }
    config = parse_config(
        evaluate.Config, {"constitution": {"name": fakes.constitution(tmp_path)}}, "test"
    )
    with fakes.context(tmp_path, ScriptedGenerator(scores=fakes.judge_scores)) as context:
        result = evaluate.run(config, policies | {"judge": fakes.model(tmp_path)}, context)
    page = Page(write(tmp_path, {"e": fakes.artifact(tmp_path, "e", result, stage="evaluate")})[1])
    assert "100.0 % of the responses break a principle" in page.text
    assert "the judge alone" in page.text
    assert "not measured" not in page.text and "Well-formed" not in page.text


def test_no_inputs(tmp_path):
    with pytest.raises(UserError, match="nothing to show"):
        write(tmp_path, {})


def test_a_change_counts_only_if_its_interval_leaves_zero_out():
    base = {"value": -0.1, "low": -0.2, "high": -0.01, "n": 9, "fell": 3, "rose": 1, "p": 0.6}
    assert mark_change(base, -1)["tone"] == "better"
    assert mark_change(base, 1)["tone"] == "worse"
    assert mark_change(base | {"high": 0.01}, -1)["tone"] == "same"
    assert mark_change(None, 1) is None


def test_charts_are_well_formed():
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    ElementTree.fromstring(
        trade_off([(HOSTILE, estimate, estimate), ("b", estimate, estimate)], "x <", "y &")
    )
    ElementTree.fromstring(curve([{"step": 1, "loss": 0.5}], "loss", "loss <&>"))
    assert curve([{"step": 1, "loss": float("nan")}], "loss", "loss") == ""
    assert curve([], "loss", "loss") == ""
    steep = Line(HOSTILE, 7, [(float(i), -1e-5 * i) for i in range(40)], marked=True)
    drawing = ElementTree.fromstring(
        overlay([steep, Line("b", 1, [(1.0, 0.0)]), Line("c", 2, [])], "<&>", "runs away")
    )
    texts = [(float(t.get("x")), t.get("text-anchor"), t.text) for t in drawing.iter("text")]
    assert all(
        x >= 6.5 * len(text) for x, anchor, text in texts if anchor == "end"
    )  # no label leaves the drawing
    assert overlay([Line("c", 2, [])], "nothing") == ""
    ElementTree.fromstring(overlay([Line("flat", 0, [(1.0, 3.0), (2.0, 3.0)])], "flat", limit=2.0))


def test_a_running_mean_keeps_a_short_curve_and_the_level_of_a_long_one():
    short = [(1.0, 3.0), (2.0, 5.0)]
    assert running_mean(short) == short
    smooth = running_mean([(float(i), float(i % 2)) for i in range(100)])
    assert len(smooth) == 100 and all(0.4 < value < 0.6 for _, value in smooth)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.31, 0.34), (-3, 250), (5, 5), (0, 1e-6)])
def test_ticks_cover_their_range_with_few_round_numbers(low, high):
    marks = ticks(low, high)
    assert marks[0] <= low and marks[-1] >= high
    assert 2 <= len(marks) <= 7
    assert marks == sorted(set(marks))


WALK = """<script>
// every step, then every principle of it, then a search; what was drawn is recorded for the test
const [steps, principle, search] = ["step", "principle", "search"].map(
  (id) => document.getElementById(id));
const record = document.createElement("div");
const rest = () => new Promise((resume) => setTimeout(resume, 60));
const set = async (control, value, event) => {
  control.value = value;
  control.dispatchEvent(new Event(event));
  await rest();
};
const count = () => document.getElementById("count").textContent;
(async () => {
  for (const step of [...steps.options]) {
    await set(steps, step.value, "change");
    const drawn = [...document.getElementById("entries").children];
    record.append(...drawn.map((entry) => entry.cloneNode(true)));
    for (const option of [...principle.options].slice(1)) {
      await set(principle, option.value, "change");
      record.append(`[${step.text} ${option.value}: ${count()}] `);
    }
    await set(principle, "", "change");
    await set(search, "POISON", "input");
    record.append(`[${step.text} searched: ${count()}] `);
    await set(search, "", "input");
  }
  document.body.append(record);
})();
</script>"""


def browse(path, walk, tmp_path):
    """The page's DOM after `walk`, and what its console said."""
    path.write_text(
        path.read_text(encoding="utf-8").replace("</body>", walk + "</body>"), encoding="utf-8"
    )
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    command += ["--disable-component-update", "--disable-sync", "--enable-logging=stderr"]
    command += [
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=8000",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    if "<html" not in done.stdout:
        pytest.skip(f"Chromium does not start here: {done.stderr[-200:]}")
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(not BROWSER, reason="no Chromium here: the page's script is not run")
def test_the_script_runs_and_hostile_texts_do_not(tmp_path, inputs):
    drawn, errors = browse(write(tmp_path, inputs)[2], WALK, tmp_path)
    assert not errors
    assert "<title>judge-model \u00b7 20" in drawn
    assert re.search(r"<ins[ >]", drawn)
    assert "revisions (2)" in drawn
    assert (
        "[pairs (2) harm: 2 of 2 entries]" in drawn and "[pairs (2) kind: 1 of 2 entries]" in drawn
    )
    assert "[ratings (1) kind: 1 of 1 entries]" in drawn
    assert (
        "[revisions (2) searched: 2 of 2 entries]" in drawn
        and "[dropped rows (1) searched: 0 of 1 entries]" in drawn
    )
    for chip in (
        "harm decides",
        "not kind",
        "flipped on purpose",
        "unsafe",
        "rule: disclaimer",
        "not kind \u22121.000",
    ):
        assert re.search(rf'<span class="chip[^"]*">{chip}</span>', drawn), chip
    assert "B is worse." in drawn and "score 0.250" in drawn
    assert "<img" not in drawn
    assert re.search(r"<td[^>]*>\u22121.00</td>", drawn)
