"""Pages at the edges: no rows, many and long names, one prompt, a narrow screen."""

import re

import pytest

from stages.evaluation import evaluate
from stages.report import report
from stages.report.contents import with_contents
from stages.report.exports.cards import _sources as card_sources
from stages.report.heading import describe_run, last_part
from stages.report.learnt import learnt_from
from stages.report.page import breakable
from stages.report.views.charts import trade_off
from stages.report.views.curves import Line, curve, overlay
from stages.runtime.artifacts import Result
from stages.runtime.rows import Dropped, Judgement, Pair, Prompt, Response, Revision
from stages.runtime.typed_config import parse_config
from tests.evaluation import fakes
from tests.evaluation.fakes import response
from tests.report.test_report import BROWSER, HOSTILE, Page, browse, write
from tests.scripted import ScriptedGenerator

LONG = "a_policy_with_a_name_that_nobody_would_want_to_read_twice_number"
SET = f"""
name: tiny
principles:
  - {{id: harm, text: The response does no harm., dimension: harm, tags: [safe]}}
  - id: kind-{"x" * 40}
    dimension: kindness
    text: The response is kind. {"W" * 400} {"and so on " * 160}
"""
PATH = "/" + "a_very_long_folder/" * 16 + "SmolLM2-135M"
MEASURE = """<script>
// what sticks out of the page, and cells whose content runs into the next one
const wide = [...document.querySelectorAll("main *, .contents a")].filter((node) =>
  node.getBoundingClientRect().right > document.documentElement.clientWidth + 1
  && !node.closest(".wide, svg"));
wide.push(...[...document.querySelectorAll("td .change, td .beside, td .value")].filter((node) =>
  node.scrollWidth > node.clientWidth + 1 && node.clientWidth));
parent.postMessage(`[${innerWidth} ${document.documentElement.scrollWidth} ${wide.map(
  (node) => `${node.tagName}.${node.className}`)}]`, "*");
</script>"""
FRAME = """<body><iframe src="{page}" width="420" height="900" style="border:0"></iframe>
<iframe src="{page}" width="1400" height="900" style="border:0"></iframe>
<script>addEventListener("message", (event) => document.body.append(event.data));</script></body>"""


def evaluation(tmp_path, names, prompts=6):
    answers = {}
    for number, name in enumerate(names):
        texts = [f"tea {number if i % 2 else ''}" for i in range(prompts)]
        rows = [response(str(i), text) for i, text in enumerate(texts)]
        answers[name] = fakes.responses(tmp_path, f"{name}_answers", rows)
    sources = answers | {"judge": fakes.model(tmp_path)}
    options = {"constitution": {"name": fakes.constitution(tmp_path, SET)}, "resamples": 100}
    truth = {"ground_truth": "tests.evaluation.fakes:check"}
    config = parse_config(evaluate.Config, options | truth, "test")
    with fakes.context(tmp_path, ScriptedGenerator(scores=fakes.judge_scores)) as context:
        result = evaluate.run(config, sources, context)
    return fakes.artifact(
        tmp_path,
        "evaluation",
        result,
        stage="evaluate",
        inputs=sources,
        options=evaluate.identity(config),
    )


def training(tmp_path, step="rl", steps=1, inputs=None, **facts):
    history = [{"step": i + 1, "loss": 0.55, "reward": 0.5} for i in range(steps)]
    if not facts.pop("online", False):
        history = [{"step": point["step"], "loss": point["loss"]} for point in history]
    metrics = {"n": 9, "steps": steps, "history": history} | facts.pop("metrics", {})
    result = Result(metrics=metrics, **facts)
    return fakes.artifact(tmp_path, step, result, stage="dpo", inputs=inputs)


def test_ten_policies_with_long_names(tmp_path):
    names = [f"{LONG}_{number}" for number in range(10)]
    _, html, _ = write(tmp_path, {"evaluation": evaluation(tmp_path, names)})
    page = Page(html)
    assert "11 more" in page.text, "the first six comparisons stand there, the others are folded"
    assert f"{names[9]} against {names[8]}" in page.text
    assert "no<wbr>body" not in html and "_<wbr>name_<wbr>that" in html
    assert 'style="box-shadow:inset 0 0 0 2.5px var(--policy-0)"' in html, "a seventh colour"
    labels = re.findall(r'<text class="label name"[^>]*y="([\d.]+)">(.*?)</text>', html)
    assert len({y for y, _ in labels}) == 10, "names of equal dots do not cover each other"
    assert all(0 < float(y) < 276 and len(name) <= 24 for y, name in labels)


@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
def test_nothing_sticks_out_on_a_narrow_screen_or_into_the_next_column(tmp_path):
    names = [f"{LONG}_{number}" for number in range(3)]
    losses = [Dropped(id="0-0", reason="unreadable_" * 30)]
    steps = {
        "evaluation": evaluation(tmp_path, names),
        "one": training(tmp_path, "x" * 60, dropped=losses, warnings=["not_a_space" * 20]),
        "online": training(tmp_path, "online", online=True),
    }
    result, _, path = write(tmp_path, steps)
    assert result.metrics["entries"] == 6 + 1
    html = path.read_text(encoding="utf-8")
    path.write_text(html.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    frame = tmp_path / "frame.html"  # a window of Chromium is never as narrow
    frame.write_text(FRAME.format(page=path.as_uri()), encoding="utf-8")
    drawn, errors = browse(frame, "", tmp_path)
    assert not errors
    measured = sorted(re.findall(r"\[(\d+) (\d+) (.*?)\]", drawn), key=lambda each: int(each[0]))
    assert [(width, outside) for width, _, outside in measured] == [("420", ""), ("1400", "")]
    assert all(int(content) <= int(width) for width, content, _ in measured)


def test_a_training_of_one_step_is_a_labelled_point():
    drawing = curve([{"step": 7, "loss": 0.55}], "loss", "loss")
    assert drawing.count("step 7") == 1 and ">0.55</text>" in drawing and "nan" not in drawing
    assert re.search(r'<circle class="end" cx="176.0"', drawing), "in the middle"
    assert "loss 0.55 in its only step" in drawing
    both = overlay([Line("a", 1, [(7.0, 1.0)]), Line("b", 2, [(7.0, 2.0)])], "reward")
    assert both.count(">step 7</text>") == 1
    assert "reward: a 1 in its only step; b 2 in its only step" in both
    zero = curve([{"step": i, "accuracy": 0.0} for i in (1, 2)], "accuracy", "accuracy")
    assert "\u2212" not in zero, "an axis of shares has no negative end"


def test_a_page_of_empty_steps(tmp_path):
    empty = fakes.artifact(tmp_path, "none", Result(rows=[], row_type=Revision), stage="revise")
    page = Page(write(tmp_path, {"none": empty, "rl": training(tmp_path)})[1])
    assert "9 rows" in page.text and "1 step" in page.text
    assert "Before you believe this page" not in page.text, "nothing failed: no box"


def test_warnings_stand_first_and_lead_to_their_step(tmp_path):
    doubted = training(tmp_path, "rl", warnings=[f"learnt from 9 rows {HOSTILE}"])
    page = Page(html := write(tmp_path, {"e": evaluation(tmp_path, ["a", "b"]), "rl": doubted})[1])
    order = ["Before you believe this page", "What was learnt", "Violations did not", "Effect"]
    places = [page.text.rindex(words) for words in order[:3]]
    assert places == sorted(places)
    assert html.count('href="#step-rl"') == html.count('id="step-rl"') == 1
    assert HOSTILE in page.text


def test_what_was_learnt_and_what_was_dropped_on_the_way(tmp_path):
    lost = [Dropped(id=str(i), reason="refused" if i else "empty") for i in range(4)]
    rows = [response(str(i), "tea") for i in range(12)]
    answers = fakes.artifact(
        tmp_path, "answers", Result(rows=rows, row_type=Response, dropped=lost)
    )
    start = fakes.artifact(
        tmp_path,
        "sl",
        Result(metrics={"n": 3, "steps": 2}, dropped=lost[:1]),
        inputs={"rows": answers},
    )
    samples = fakes.artifact(
        tmp_path, "samples", Result(rows=rows, row_type=Response), inputs={"model": start}
    )
    metrics = {"held_out": {"n": 3}}
    inputs = {"model": start, "pairs": samples}
    final = training(tmp_path, "rl", 2, inputs, dropped=lost, metrics=metrics)
    first, second = learnt_from(report.lineage([final]))
    assert [(loss.step, loss.dropped, loss.total) for loss in first.losses] == [
        ("answers", 4, 16),
        ("sl", 1, 4),
    ]
    assert first.losses[0].reasons == "3 \u00d7 refused; 1 \u00d7 empty"
    assert (second.rows, second.steps) == ("9 rows, 3 held out", "2 steps")
    assert [(loss.step, loss.share) for loss in second.losses] == [("rl", 4 / 16)], (
        "what the model before it lost is told there"
    )


def test_the_heading_says_what_the_page_is_about(tmp_path):
    source = fakes.artifact(
        tmp_path,
        "red",
        Result(metrics={"reading": {"source": "data/red.jsonl"}}),
        stage="prompts",
        options={"source": "836f0b081739aa5e"},  # of a file the identity is its content
    )
    own = fakes.artifact(
        tmp_path, "world", Result(), stage="prompts", options={"source": "stages.world:benign"}
    )
    base, judge = fakes.model(tmp_path, "base"), fakes.model(tmp_path, "judge")
    base.metrics["model_path"] = PATH
    names = {
        "method": "cai",
        "constitution": {"name": "my/set.yaml", "drop": ["a", "b", "c", "d"], "only": None},
    }
    facts = describe_run([source, own, base, judge], names, "2026-11-27T10:00:00+0000")
    assert [(fact.name, fact.value) for fact in facts] == [
        ("constitution", "set (without a, b, c and 1 more)"),
        ("method", "cai"),
        ("model", "SmolLM2-135M"),
        ("judge", "judge-model"),
        ("data", "red.jsonl, world"),
        ("date", "2026-11-27"),
    ]
    assert facts[2].whole == PATH
    assert card_sources([source]) == ["`red`: data/red.jsonl"], "a published card names it, too"
    assert last_part("runs/rl/checkpoint-50") == "rl/checkpoint-50"
    assert describe_run([], {}, "") == []


def test_the_page_carries_the_names_of_its_run(tmp_path):
    source = training(tmp_path)
    with fakes.context(tmp_path) as context:
        context.names = {"method": "cai", "constitution": {"name": "world"}}
        report.run(report.Config(), {"rl": source}, context)
        own = (context.directory / "report.html").read_text()
        report.run(report.Config(title="Mine <b>"), {"rl": source}, context)
        titled = (context.directory / "report.html").read_text()
    assert "<title>world \u00b7 cai \u00b7 20" in own
    assert "<title>Mine &lt;b&gt;</title>" in titled
    assert "<h1>Mine &lt;b&gt;</h1>" in titled and "cai" in Page(titled).text


def test_contents_lead_to_every_heading(tmp_path):
    html, links = with_contents(
        '<h2>One &lt;b&gt;</h2><h2 class="minor">One b <span class="note">of x</span></h2>'
        "<h2>\u2028</h2><h2>One b</h2>"
    )
    assert [target for target, _ in links] == re.findall(r'id="([^"]*)"', html)
    assert links[0] == ("one-b", "One <b>") and links[1] == ("one-b-of-x", "One b (of x)")
    assert [target for target, _ in links[2:]] == ["section", "one-b-2"]
    page_html = write(tmp_path, {"rl": training(tmp_path, warnings=["no"])})[1]
    targets = set(re.findall(r'id="([^"]+)"', page_html))
    links = [link[1:] for link in Page(page_html).links]
    assert set(links) <= targets and page_html.count("<h2") == len(links) - 1


def test_no_heading_takes_the_id_of_a_control():
    content = '<h2>Search</h2><input id="search"><h2>Rows data</h2><h2>Search</h2>'
    html, links = with_contents(content)
    assert [target for target, _ in links] == ["search-2", "rows-data", "search-3"]
    ids = re.findall(r'id="([^"]*)"', html)
    assert len(set(ids)) == len(ids) == 4


def test_a_name_breaks_after_its_marks_and_stays_a_text():
    assert breakable("a_b/c <i>") == "a_<wbr>b/<wbr>c &lt;i&gt;"
    assert breakable("__a__") == "__<wbr>a__"


def test_labels_of_equal_dots_stay_in_the_drawing():
    estimate = {"value": 0.0, "low": 0.0, "high": 0.1, "n": 9}
    drawing = trade_off([(f"p{i}", estimate, estimate) for i in range(19)], "x", "y")
    heights = [float(y) for y in re.findall(r'class="label name"[^>]* y="([\d.]+)"', drawing)]
    assert len(set(heights)) == 19 and min(heights) > 0 and max(heights) < 277


def judgement(a, b, first, second, principle="harm"):
    return Judgement(
        id=f"1|2|{principle}",
        pair_id="1-0|1-1",
        response_a_id="1-0",
        response_b_id="1-1",
        prompt_id="1",
        kind="red_team",
        prompt=[{"role": "user", "content": "request 1"}],
        response_a=a,
        response_b=b,
        principle=principle,
        margin_ab=first,
        margin_ba=second,
        model="m",
    )


@pytest.mark.parametrize(
    ("first", "second", "verdict", "flips"),
    [
        (1.0, 2.0, "A", False),
        (-1.0, -2.0, "B", False),
        (1.0, -2.0, "flips: it prefers what it reads first", True),
        (-1.0, 2.0, "flips: it prefers what it reads second", True),
        (0.0, 2.0, "a tie: no preference in one of the orders", False),
        (0.0, 0.0, "a tie: no preference in either order", False),
    ],
)
def test_a_verdict_says_why(tmp_path, first, second, verdict, flips):
    rows = [judgement("tea", "coffee", first, second)]
    cells = fakes.artifact(tmp_path, "j", Result(rows=rows, row_type=Judgement), stage="judge")
    (entry,) = Page(write(tmp_path, {"j": cells})[1]).rows[0]["entries"]
    assert entry["cells"] == [["harm", first, second, verdict]]
    assert ("flips" in entry["flags"]) == flips


def test_equal_answers_are_a_tie_without_a_question(tmp_path):
    _, html, _ = write(tmp_path, {"e": evaluation(tmp_path, ["a", "b"], prompts=2)})
    page = Page(html)
    equal, different = (entry["answers"][1]["duels"] for entry in page.rows[0]["entries"])
    why = "a tie: the answers are equal, so no question was asked"
    assert equal == [["a", 0.0, 0.0, why]]
    assert len(different) == 1 and different[0][3] != why
    assert "Equal answers are a tie without a question." in page.text


def test_dropped_rows_have_their_texts(tmp_path):
    rows = [response(str(i), f"answer {i}", sample=0) for i in range(3)]
    rows.append(response("0", "answer 0", sample=1))
    answers = fakes.artifact(tmp_path, "answers", Result(rows=rows, row_type=Response))
    cells = [judgement("tea", HOSTILE, 1.0, -1.0)]
    cells = fakes.artifact(tmp_path, "cells", Result(rows=cells, row_type=Judgement))
    prompts = [Prompt(id="p", messages=[{"role": "user", "content": "why?"}], kind="x")]
    prompts = fakes.artifact(tmp_path, "prompts", Result(rows=prompts, row_type=Prompt))
    dropped = [
        Dropped(id="1-0", reason="empty"),
        Dropped(id="first/2-0", reason="cut off"),
        Dropped(id="0-0|0-1", reason="equal responses"),
        Dropped(id="1-0|1-1#2", reason="the judge abstains", detail="server's words"),
        Dropped(id="p", reason="refused"),
        Dropped(id="file.jsonl:3", reason="no user turn"),
    ]
    inputs = {"responses": answers, "judgements": cells, "prompts": prompts}
    step = fakes.artifact(
        tmp_path, "pairs", Result(rows=[], row_type=Pair, dropped=dropped), inputs=inputs
    )
    html = write(tmp_path, {"pairs": step})[1]
    entries = Page(html).rows[-1]["entries"]
    assert [entry["texts"] for entry in entries] == [
        [["response", "answer 1"]],
        [["response", "answer 2"]],
        [["response", "answer 0"]],
        [["A", "tea"], ["B", HOSTILE]],
        [],
        [],
    ]
    assert [entry["prompt"] for entry in entries[2:]] == [
        [["user", "request 0"]],
        [["user", "request 1"]],
        [["user", "why?"]],
        [],
    ]
    assert entries[3]["detail"] == "server's words"
    assert entries[3]["cells"] == [["harm", 1.0, -1.0, "flips: it prefers what it reads first"]]
    few = Page(write(tmp_path, {"pairs": step}, max_rows=2)[1]).rows[-1]
    assert (len(few["entries"]), few["total"]) == (2, 6)


def test_dropped_rows_whose_inputs_are_damaged_have_no_texts(tmp_path):
    answers = fakes.responses(tmp_path, "answers", [response("1", "tea")])
    step = fakes.artifact(
        tmp_path,
        "pairs",
        Result(rows=[], row_type=Pair, dropped=[Dropped(id="1-0", reason="empty")]),
        inputs={"responses": answers},
    )
    (answers.directory / "rows.parquet").write_bytes(b"broken")
    entry = Page(write(tmp_path, {"pairs": step})[1]).rows[-1]["entries"][0]
    assert (entry["id"], entry["texts"]) == ("1-0", [])
