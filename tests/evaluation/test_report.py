"""The report page: what it shows, what it survives, and, where there is a browser, that its script runs."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from stages.evaluation import evaluate, report
from stages.evaluation.browse import as_script
from stages.evaluation.charts import curve, ticks, trade_off
from stages.evaluation.effects import change, signed
from stages.runtime.artifacts import Result
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Judgement, Pair, Revision
from stages.runtime.settings import parse_config
from tests.evaluation import fakes
from tests.evaluation.fakes import response
from tests.scripted import ScriptedGenerator

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> {{ 7*7 }} \u2028<!--"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Tags and text of a page; every tag must be closed in order."""

    VOID = ("meta", "input", "br")

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
        return json.loads(self.scripts[0])


def revision(i, text, previous, number=1, principle="harm", faulty=True):
    prompt = [{"role": "user", "content": f"request {i}"}]
    return Revision(
        id=f"{i}-r{number}",
        parent=f"{i}-0",
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
    """A small whole run: revisions, judgements, pairs, two trainings and an evaluation with a judge."""
    judge = fakes.model(tmp_path)
    prompt = [{"role": "user", "content": "request 1"}]
    rounds = [revision(1, "tea", "poison"), revision(1, "tea", "tea", 2, "kind", False), revision(2, HOSTILE, "poison")]
    lost = [Dropped(id="9-0", reason=f"empty critique {HOSTILE}")]
    revisions = fakes.artifact(tmp_path, "revisions", Result(rows=rounds, row_type=Revision, dropped=lost), stage="revise")
    cells = [
        Judgement(id=f"j{p}", parent="1|2", kind="red_team", prompt=prompt, response_a="tea", response_b="poison",
                  principle=p, margin_ab=2.0, margin_ba=ba, model="m")
        for p, ba in (("harm", 1.0), ("kind", -1.0))
    ]  # fmt: skip
    judgements = fakes.artifact(tmp_path, "judgements", Result(rows=cells, row_type=Judgement), stage="judge")
    pair = Pair(id="p", parent="p", kind="red_team", prompt=prompt, chosen="tea", rejected="poison", label=0.9, margin=2.2,
                principles=["harm"], margins_ab=[2.0], margins_ba=[1.0])  # fmt: skip
    pairs = fakes.artifact(
        tmp_path, "pairs", Result(rows=[pair], row_type=Pair), stage="judged_pairs", inputs={"judgements": judgements}
    )
    history = [{"step": i, "loss": 1 / i, "accuracy": 0.5, "margin": 0.1 * i} for i in range(1, 9)]
    trained = fakes.artifact(tmp_path, "rl", Result(metrics={"history": history}), stage="dpo", inputs={"pairs": pairs})
    policies = {
        "base": fakes.responses(tmp_path, "base_answers", [response(str(i), "poison" if i % 2 else "tea") for i in range(20)]),
        f"tuned {HOSTILE[:20]}": fakes.responses(tmp_path, "tuned_answers", [response(str(i), HOSTILE) for i in range(20)]),
    }
    options = {"constitution": {"name": fakes.constitution(tmp_path)}, "ground_truth": "tests.evaluation.fakes:check"}
    config = parse_config(evaluate.Config, options | {"resamples": 100}, "test")
    sources = policies | {"judge": judge, "judgements": judgements}
    with fakes.context(tmp_path, ScriptedGenerator(scores=fakes.judge_scores)) as context:
        result = evaluate.run(config, sources, context)
    evaluation = fakes.artifact(
        tmp_path, "evaluation", result, stage="evaluate", inputs=sources, options=evaluate.identity(config)
    )
    return {"evaluation": evaluation, "revisions": revisions, "pairs": pairs, "judgements": judgements, "rl": trained}


def write(tmp_path, inputs, **options):
    config = parse_config(report.Config, options, "test")
    report.identity(config)
    with fakes.context(tmp_path) as context:
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
    assert page.tags.count("svg") == 1 + 3
    assert [s["kind"] for s in page.rows] == ["Revision", "Verdict", "Pair", "Judgement", "Dropped"]
    chain = page.rows[0]["entries"][0]
    assert [r["principle"] for r in chain["rounds"]] == ["harm", "kind"]
    assert set(chain["flags"]) == {"faulty", "changed"}
    assert page.rows[3]["entries"][0]["flags"] == ["flips"]
    assert result.tables[0].rows[0][0] == path.name
    assert result.metrics["entries"] == 2 + 20 + 1 + 1 + 1


def test_an_ancestor_with_a_damaged_manifest_is_left_out(tmp_path, inputs):
    for manifest in tmp_path.glob("base_answers-*/manifest.json"):
        manifest.write_text("{}")
    _, html, _ = write(tmp_path, inputs)
    assert "tuned_answers" in Page(html).text and "base_answers" not in Page(html).text


def test_nothing_is_loaded(tmp_path, inputs):
    _, html, _ = write(tmp_path, inputs)
    assert Page(html).links == []
    assert "default-src 'none'" in html
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|https?://", html)


def test_hostile_texts_stay_texts(tmp_path, inputs):
    _, html, _ = write(tmp_path, inputs, title=HOSTILE)
    page = Page(html)
    assert page.tags.count("script") == 2  # the data and ours
    assert "img" not in page.tags
    assert "\u2028" not in page.scripts[0]
    assert page.rows[0]["entries"][1]["rounds"][0]["response"] == HOSTILE
    assert "{{ 7*7 }}" in page.text


@pytest.mark.parametrize("text", [HOSTILE, "<!-- <script>", "]]>", "\\u003c", "\u2029", "\x00", "naïve 日本"])
def test_embedded_json_is_faithful_and_cannot_end_its_script(text):
    embedded = as_script([text])
    assert json.loads(embedded) == [text]
    assert not set(embedded) & set("<>&\u2028\u2029")


def test_rows_are_capped_and_the_number_is_told(tmp_path, inputs):
    _, html, _ = write(tmp_path, inputs, max_rows=3)
    verdicts = next(s for s in Page(html).rows if s["kind"] == "Verdict")
    assert (len(verdicts["entries"]), verdicts["total"]) == (3, 20)


def test_missing_parts_are_not_shown(tmp_path, inputs):
    for name, unwanted in (("rl", "Violations of each principle"), ("revisions", "Training"), ("evaluation", "Training")):
        page = Page(write(tmp_path, {name: inputs[name]})[1])
        assert unwanted not in page.text
        assert "What was done" in page.text
    empty = fakes.artifact(tmp_path, "none", Result(rows=[], row_type=Revision), stage="revise")
    assert Page(write(tmp_path, {"none": empty})[1]).rows == [{"step": "none", "kind": "Revision", "total": 0, "entries": []}]


def test_one_policy_without_truth(tmp_path):
    policies = {"only": fakes.responses(tmp_path, "only", [response(str(i), "poison") for i in range(4)])}
    config = parse_config(evaluate.Config, {"constitution": {"name": fakes.constitution(tmp_path)}}, "test")
    with fakes.context(tmp_path, ScriptedGenerator(scores=fakes.judge_scores)) as context:
        result = evaluate.run(config, policies | {"judge": fakes.model(tmp_path)}, context)
    page = Page(write(tmp_path, {"e": fakes.artifact(tmp_path, "e", result, stage="evaluate")})[1])
    assert "100.0 % of the responses break a principle" in page.text
    assert "the judge alone" in page.text
    assert "not measured" in page.text


def test_no_inputs(tmp_path):
    with pytest.raises(UserError, match="nothing to show"):
        write(tmp_path, {})


def test_a_change_counts_only_if_its_interval_leaves_zero_out():
    base = {"value": -0.1, "low": -0.2, "high": -0.01, "n": 9, "fell": 3, "rose": 1, "p": 0.6}
    assert change(base, -1)["mood"] == "better"
    assert change(base, 1)["mood"] == "worse"
    assert change(base | {"high": 0.01}, -1)["mood"] == "same"
    assert change(None, 1) is None
    assert [signed(-0.123), signed(0.0004), signed(0.2)] == ["\u221212.3", "0.0", "+20.0"]


def test_charts_are_well_formed():
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    ElementTree.fromstring(trade_off([(HOSTILE, estimate, estimate), ("b", estimate, estimate)], "x <", "y &"))
    ElementTree.fromstring(curve([{"step": 1, "loss": 0.5}], "loss", "loss <&>"))
    assert curve([{"step": 1, "loss": float("nan")}], "loss", "loss") == ""
    assert curve([], "loss", "loss") == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.31, 0.34), (-3, 250), (5, 5), (0, 1e-6)])
def test_ticks_cover_their_range_with_few_round_numbers(low, high):
    marks = ticks(low, high)
    assert marks[0] <= low and marks[-1] >= high
    assert 2 <= len(marks) <= 7
    assert marks == sorted(set(marks))


@pytest.mark.skipif(not BROWSER, reason="no Chromium here: the page's script is not run")
def test_the_script_runs_and_hostile_texts_do_not(tmp_path, inputs):
    _, _, path = write(tmp_path, inputs)
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"HOME": str(tmp_path)})
    if "<html" not in done.stdout:
        pytest.skip(f"Chromium does not start here: {done.stderr[-200:]}")
    assert "<title>Credo report</title>" in done.stdout
    assert re.search(r"<ins[ >]", done.stdout)
    assert "2 of 2 entries" in done.stdout
    assert "revisions (2)" in done.stdout
