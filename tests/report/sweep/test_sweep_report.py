"""The report of a sweep: its drawings, what it says, and, where there is a browser, that its
filters work.
"""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from stages.ablation import matrix
from stages.ablation.compare import REDUNDANCY, Comparison
from stages.ablation.jobs import Job
from stages.ablation.runs import Run
from stages.guards.console import open_console
from stages.preferences.label_rule import rule_of
from stages.report.sweep import files
from stages.report.sweep.charts import rating_chart, sign, tint
from stages.report.sweep.forest import NARROW, WIDE, Bar, forest
from stages.report.sweep.headline import sweep_headline
from stages.report.sweep.job_table import job_table
from stages.report.sweep.page import write_report
from stages.report.sweep.summary import notes, summary_table
from stages.report.sweep.tables import attribution, redundancy_table
from stages.runtime.artifacts import Result
from stages.runtime.pipeline.settings import Ablate
from stages.runtime.rows import Judgement, Pair, Verdict
from stages.statistics.differences import effects
from stages.statistics.equivalence import findings
from tests.evaluation import fakes
from tests.report.test_report import BROWSER, HOSTILE, Page, browse

SETTINGS = Ablate(
    level="policy",
    before="whole",
    kinds=("leave_one_out",),
    outcome=None,
    margin=0.03,
    confidence=0.95,
    correction="holm",
)
RATES = {"full": 0.1, "without:a": 0.4, "without:b": 0.1, "opposite:a": 0.1, "none": 0.6}


def outcomes(rate, level="policy"):
    """200 prompts, of which the first ones break a principle."""
    broken = {f"request {i}": float(i < 200 * rate) for i in range(200)}
    return {"any_violation": broken, "violates a": broken, "evasive": dict.fromkeys(broken, 0.0)}


@pytest.fixture
def comparison():
    kinds = {"without": "leave_one_out", "opposite": "opposite"}
    runs = {
        name: Run(
            name,
            kinds.get(name.partition(":")[0], name),
            name.partition(":")[2],
            "full",
            {"0": outcomes(rate)},
        )
        for name, rate in RATES.items()
    }
    all_effects, all_findings = {}, {}
    for outcome in outcomes(0):
        values = {name: {"0": run.seeds["0"][outcome]} for name, run in runs.items()}
        new = effects(values["full"], {name: values[name] for name in list(RATES)[1:]})
        all_effects[outcome], all_findings[outcome] = new, findings(new, SETTINGS.margin)
    missing = [{"variant": "without:c", "seed": 0, "error": f"it broke {HOSTILE}"}]
    return Comparison("policy", "any_violation", runs, all_effects, all_findings, missing)


def cell(pair, principle, margin):
    prompt = [{"role": "user", "content": f"request {pair}"}]
    return Judgement(
        id=f"{pair}{principle}",
        pair_id=str(pair),
        response_a_id="x",
        response_b_id="y",
        prompt_id=f"prompt {pair}",
        kind="k",
        prompt=prompt,
        response_a="x",
        response_b="y",
        principle=principle,
        margin_ab=margin,
        margin_ba=margin,
        model="m",
    )


def duel(number, first, second):
    prompt = [{"role": "user", "content": f"request {number}"}]
    return Verdict(
        id=f"rl/{number}",
        response_id=str(number),
        prompt_id=f"prompt {number}",
        policy="rl",
        kind="k",
        prompt=prompt,
        response="x",
        principles=[],
        violated=[],
        judged=[],
        any_violation=None,
        well_formed=None,
        on_topic=None,
        evasive=None,
        helpful=None,
        rivals=["base"],
        margins_first=[first],
        margins_second=[second],
    )


@pytest.fixture
def jobs(tmp_path):
    """Three jobs: the full set, one without `a`, one that failed; with a matrix in which `a` and
    `b` say the same.
    """
    cells = [
        cell(i, p, sign)
        for i in range(400)
        for sign in (1.0 if i % 2 else -1.0,)
        for p in ("a", "b")
    ]
    cells += [cell(i, "c", 0.5 if i % 3 else -0.5) for i in range(400)]
    judged = fakes.artifact(
        tmp_path, "judgements", Result(rows=cells, row_type=Judgement), stage="judge"
    )
    jobs = []
    for number, label in enumerate(("full", "without:a", "without:c")):
        folder = tmp_path / "sweep" / str(number)
        folder.mkdir(parents=True)
        if label == "without:c":
            (folder / "failed.json").write_text("{}")
            jobs.append(Job(number, label, 0, error=f"it broke {HOSTILE}"))
            continue
        options = {
            "constitution": {"a": {}, "b": {}, "c": {}},
            "orders": "agree",
            "clip": None,
            "aggregate": "max_abs",
        }
        pairs = fakes.artifact(
            tmp_path,
            "pairs",
            Result(rows=[], row_type=Pair),
            stage="judged_pairs",
            inputs={"judgements": judged},
            options=options | {"of": label},
        )
        metrics = {"policies": {"base": {}, "rl": {}}, "history": []}
        duels = [
            duel(i, *(1.0, 1.0) if i < 60 else (1.0, -1.0) if i < 70 else (-1.0, -1.0))
            for i in range(100)
        ]
        evaluation = fakes.artifact(
            tmp_path,
            "evaluation",
            Result(rows=duels, row_type=Verdict, metrics=metrics),
            stage="evaluate",
            options={"of": label},
            inputs={"p": pairs},
        )
        page = fakes.artifact(
            tmp_path, "report", Result(), stage="report", inputs={"e": evaluation}
        )
        (page.directory / "report.html").write_text("")
        steps = {a.step: str(a.directory) for a in (judged, pairs, evaluation, page)}
        ran = {
            name: {"artifact": path, "reused": name == "judgements" and number > 0}
            for name, path in steps.items()
        }
        (folder / "run.json").write_text(json.dumps({"steps": ran}))
        jobs.append(Job(number, label, 0, steps=steps))
    return jobs


def write(tmp_path, comparison, jobs, settings=SETTINGS):
    folder = tmp_path / "sweep" / "ablation"
    folder.mkdir(parents=True, exist_ok=True)
    redundancy = matrix.redundancy(jobs, {}, settings.confidence)
    comparison = replace(
        comparison, redundancy=redundancy, ratings=matrix.rate_policies(jobs, settings.confidence)
    )
    path = write_report(
        folder, comparison, settings, jobs, {"a": f"No {HOSTILE}"}, f"Ablation {HOSTILE}"
    )
    return path, path.read_text(encoding="utf-8")


def test_the_page_reports_the_results(tmp_path, comparison, jobs):
    path, html = write(tmp_path, comparison, jobs)
    page = Page(html)
    assert "Leaving out a raises violations from 10.0 to 40.0 %" in page.text
    assert re.search(
        r"\+30\.0 points, 95 % interval \+2\d\.\d to \+3\d\.\d, "
        r"p below 0\.001 after Holm, on the same 200",
        page.text,
    )
    assert "Before the method violations were at 60.0 %, with the full set 10.0 %." in page.text
    assert "on one seed" in page.text and "a second seed is needed" in page.text
    assert "violations rise without it, on one seed" in page.text  # the title of its row
    assert "1 measurably changes violations" in page.text and "it broke" in page.text
    assert "a can be removed while b stays: they agree in 100.0 %" in page.text
    assert "before the method" in page.text and "60 won, 10 tied, 30 lost" in page.text
    assert "img" not in page.tags and page.tags.count("script") == 1
    assert "default-src 'none'" in html and not re.search(
        r"@import|url\(|fetch\(|XMLHttpRequest|https?://", html
    )
    targets = {link[1:] for link in page.links if link.startswith("#")}
    assert targets and targets <= set(re.findall(r'id="([^"]+)"', html))
    for link in page.links:
        assert link.startswith("#") or (path.parent / link).exists(), link
        assert not link.startswith("/")
    assert sum(link.endswith("report.html") for link in page.links) == 2
    assert sum(link.endswith("failed.json") for link in page.links) == 1


def test_what_a_judge_cannot_tell_is_no_evidence(tmp_path, comparison, jobs):
    """Violations are in doubt: no colour, no verdict and no number without its mark; evasive
    answers, which phrases decide, are as before.
    """
    why = "it is not able: its preference does not move with the principle"
    doubts = dict.fromkeys(("any_violation", "violates a", REDUNDANCY), why)
    comparison = replace(comparison, doubts=doubts)
    _, html = write(tmp_path, comparison, jobs)
    text = " ".join(Page(html).text.split())
    assert f"The judge cannot tell what the variants change: {why}" in text
    assert "no evidence, for the judge cannot tell (it is not able)" in text
    assert not re.search(r'class="row differs', html), "of no outcome there is a difference"
    cells = re.findall(
        r'<td class="cell([^"]*)" title="[^,]*, ([^:]*): [^"]*" style="([^"]*)">(.*?)<', html
    )
    doubtful = [cell for cell in cells if cell[1] != "evasive"]
    assert doubtful and all("unsure" in kind and not style for kind, _, style, _ in doubtful)
    assert all(number.endswith("?") for *_, number in doubtful)
    assert not any(number.endswith("?") for _, name, _, number in cells if name == "evasive")
    table = summary_table(comparison)
    verdicts = list(table.columns[3].cells)
    assert set(verdicts[1:-1]) == {"no evidence: the judge cannot tell"}
    assert all(cell.endswith("?") for cell in list(table.columns[1].cells)[1:-1])
    assert any("no evidence" in note for note in notes(comparison))
    files.write(tmp_path, comparison, SETTINGS, [])
    assert json.loads((tmp_path / "results.json").read_text())["doubts"] == doubts
    _, trusted = write(tmp_path, replace(comparison, doubts={}), jobs)
    assert 'class="row differs' in trusted and "no evidence" not in trusted


def test_the_table_in_eighty_columns_breaks_no_word(comparison, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    open_console().print(summary_table(comparison, 80))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert len(summary_table(comparison, 60).columns) == 4, "the page has the others"
    for column in summary_table(comparison, 80).columns:
        cells = list(column.cells)[:-1]  # the last line is a job that failed, with its error
        words = " ".join(map(str, cells)).split()
        assert all(word in shown for word in words)


def test_labels_are_neither_better_nor_worse(tmp_path, comparison, jobs):
    changed = {
        name: dict.fromkeys(("changed",), effect)
        for name, effect in comparison.effects["any_violation"].items()
    }
    labels = replace(
        comparison,
        level="labels",
        outcome="changed",
        effects={"changed": {name: effect["changed"] for name, effect in changed.items()}},
        findings={"changed": comparison.findings["any_violation"]},
    )
    html = write(tmp_path, labels, jobs, replace(SETTINGS, level="labels"))[1]
    page = Page(html)
    assert "Leaving out a changes 30.0 % of the labels" in page.text
    assert "fewer" in page.text and "row differs other" in html and "row differs worse" not in html


def test_redundancy_stands_in_the_order_of_the_file(tmp_path, jobs):
    """The file was reordered after the matrix was made, whose cells begin with a."""
    lines = ["name: mine", "principles:"]
    for name in ("c", "b", "d", "a"):
        lines += [f"  - id: {name}", f"    text: Keep the rule {name}."]
    (tmp_path / "mine.yaml").write_text("\n".join(lines) + "\n")
    chosen = {"name": str(tmp_path / "mine.yaml")}
    reordered = [job if job.error else replace(job, constitution=chosen) for job in jobs]
    result = matrix.redundancy(reordered, {}, 0.95)
    assert result["names"] == ["c", "b", "a"]
    assert [each["principle"] for each in result["principles"]] == ["c", "b", "a"]
    assert [(a["first"], a["second"]) for a in result["agreements"]] == [
        ("c", "b"),
        ("c", "a"),
        ("b", "a"),
    ]
    assert [row["id"] for row in redundancy_table(result)["rows"]] == ["c", "b", "a"]


def test_no_effect_is_reported(comparison):
    quiet = {
        name: e
        for name, e in comparison.effects["any_violation"].items()
        if name in ("without:b", "opposite:a")
    }
    sentence = sweep_headline(comparison, quiet)
    assert sentence["sentence"] == "No variant measurably changed violations"
    assert sweep_headline(comparison, {}) is None


def test_the_map_leaves_uncertain_cells_without_colour(comparison):
    table = attribution(comparison, list(comparison.effects), {})
    rows = {row["variant"]: row["cells"] for row in table["rows"]}
    assert "none" not in rows and "full" not in rows
    assert rows["without:b"][0]["unsure"] and not rows["without:b"][0]["style"]
    strong = rows["without:a"][0]
    assert strong["holm"] and not strong["unsure"] and "--tint-worse" in strong["style"]
    assert rows["without:a"][1]["own"] and not rows["without:b"][1]["own"]


def test_redundancy_and_ratings(jobs):
    result = matrix.redundancy(jobs, {}, 0.95)
    assert result["names"] == ["a", "b", "c"] and result["pairs"] == 400 and json.dumps(result)
    verdicts = {(v["principle"], v["beside"]): v["verdict"] for v in result["redundancies"]}
    assert {names for names, verdict in verdicts.items() if verdict == "redundant"} == {
        ("a", "b"),
        ("b", "a"),
    }
    table = redundancy_table(result)
    assert (
        table["rows"][0]["cells"][1]["text"] == "100" and table["rows"][0]["cells"][1]["redundant"]
    )
    assert len(table["redundant"]) == 2 and table["rows"][2]["alone"]["decides"] == 0
    rated = matrix.rate_policies(jobs, 0.95)
    assert {r["model"] for r in rated} == {"full", "without:a", "none"}
    assert rated[-1]["model"] == "none" and rated[-1]["elo"] == 1000


@pytest.mark.parametrize("aggregate", ["mean", "vote", "random", "salmon"])
def test_every_aggregate_has_its_arithmetic(tmp_path, aggregate):
    options = {
        "constitution": {"a": {"weight": 3.0}, "b": {}},
        "aggregate": aggregate,
        "orders": "agree",
        "clip": None,
    }
    pairs = fakes.artifact(
        tmp_path, "pairs", Result(rows=[], row_type=Pair), stage="judged_pairs", options=options
    )
    decide = matrix._decide({"0": rule_of(pairs)})
    if aggregate == "salmon":
        assert decide is None
        return
    margin, who = decide("0 1|2", {"a": 1.0, "b": -1.0})
    assert margin != 0 and set(who) <= {"a", "b"}


def test_what_was_done_counts_a_shared_step_once(tmp_path, jobs):
    done = job_table(jobs, tmp_path / "sweep", tmp_path / "sweep" / "ablation" / "report.html")
    assert [line["work"].step_names[0] for line in done[:2]] == ["judgements", "pairs"]
    assert sum(line["work"].reused for line in done) == 1 and done[2]["job"].error


BARS = [
    Bar(HOSTILE, "x", 0.3, 0.2, 0.4, 0.0, "differs", word="rise", tone="worse"),
    Bar("b", "x", 0.0, -0.01, 0.01, 1.0, "equivalent"),
    Bar("c", "y", -0.02, -0.1, 0.06, 0.4, "undecided"),
]


def test_a_forest_shows_verdicts_by_shape_and_word():
    drawing = ElementTree.fromstring(
        forest(BARS, 0.03, 0.05, ("better <", "worse &"), 100, {"x": "ex", "y": "why"})
    )
    rows = {row.get("data-variant"): row for row in drawing.iter("g") if row.get("data-variant")}
    hostile = HOSTILE.translate({0x2028: "\ufffd"})  # as all text of drawings
    marks = {
        name: [m.tag for m in row if "mark" in m.get("class", "")] for name, row in rows.items()
    }
    assert marks == {hostile: ["path"] * 2, "b": ["circle"] * 2, "c": ["rect"] * 2}
    assert {row.get("data-heading") for row in drawing.iter("g")} - {None} == {"x", "y"}
    assert [e.get("class") for e in drawing.iter("rect")].count("zone") == 1
    assert [e.get("class") for e in drawing.iter("line")].count("detectable") == 2
    for row in rows.values():  # every interval lies within the plot
        (whisker,) = [e for e in row if e.get("class") == "whisker"]
        assert 226 <= float(whisker.get("x1")) <= float(whisker.get("x2")) <= 1040 - 453
    assert "rise" in "".join(rows[hostile].itertext()) and "undecided" in "".join(
        rows["c"].itertext()
    )


def test_a_narrow_forest_fits_a_phone_and_says_the_same():
    arguments = (BARS, 0.03, 0.05, ("better", "worse"), 100, {"x": "ex", "y": "why"})
    wide, narrow = (
        ElementTree.fromstring(forest(*arguments, layout=layout)) for layout in (WIDE, NARROW)
    )
    assert float(narrow.get("viewBox").split()[2]) <= 360
    for row in narrow.iter("g"):
        for line in row.iter("line"):
            assert 0 <= float(line.get("x1")) <= float(line.get("x2")) <= 360
    texts = [[text for text in drawing.itertext() if text.strip()] for drawing in (wide, narrow)]
    heads = {"effect", "p (Holm)", "verdict"}
    without_p = {text.removeprefix("p ") for text in texts[1]}
    assert set(texts[0]) - heads == without_p


def test_small_drawings():
    assert forest([], 0.03, None, ("a", "b"), 100, {}) == "" and rating_chart([]) == ""
    alone = ElementTree.fromstring(forest(BARS[1:2], None, None, ("less", "more"), 1, {}))
    assert not [g for g in alone.iter("g") if g.get("data-heading")]
    ElementTree.fromstring(
        forest([replace(BARS[1], value=0, low=0, high=0)], None, None, ("", ""), 100, {})
    )
    record = {"wins": 1, "ties": 0, "losses": 0}
    hostile = {"model": HOSTILE, "elo": 1100, "low": 1050, "high": 1150} | record
    anchor = {"model": "x", "elo": 1000, "low": 1000, "high": 1000} | record
    ElementTree.fromstring(rating_chart([hostile, anchor]))
    assert len({sign(verdict) for verdict in ("differs", "equivalent", "undecided")}) == 3
    assert sign("differs", one_seed=True) != sign("differs")
    assert tint(0.0, 0.5, "better") != tint(0.5, 0.5, "better") == tint(0.9, 0.5, "better")
    assert tint(0.1, 0, "same")


WALK = """<script>
const record = document.createElement("p");
const note = (name) => {
  record.append(`[${name}: ${document.getElementById("count").textContent}, ` +
  `${document.querySelectorAll("#map tr[data-variant]:not([hidden])").length} rows, ` +
  `height ${document.querySelector(".outcome:not([hidden]) svg").viewBox.baseVal.height}] `);
};
const set = (id, value, event) => {
  const at = document.getElementById(id); at.value = value; at.dispatchEvent(new Event(event));
};
note("all");
set("verdict", "differs", "change"); note("differs");
set("verdict", "", "change"); set("kind", "opposite", "change"); note("opposite");
set("kind", "", "change"); set("search", "WITHOUT:", "input"); note("searched");
set("outcome", "2", "change"); note("other outcome");
document.body.append(record);
</script>"""


@pytest.mark.skipif(not BROWSER, reason="no Chromium here: the page's script is not run")
def test_the_filters_work(tmp_path, comparison, jobs):
    drawn, errors = browse(write(tmp_path, comparison, jobs)[0], WALK, tmp_path)
    assert not errors
    assert "[all: 3 of 3 variants, 3 rows, height 195]" in drawn
    assert "[differs: 1 of 3 variants, 1 rows, height 114]" in drawn
    assert "[opposite: 1 of 3 variants, 1 rows, height 114]" in drawn
    assert "[searched: 2 of 3 variants, 2 rows, height 141]" in drawn
    assert "[other outcome: 2 of 3 variants, 2 rows, height 141]" in drawn
    assert "<img" not in drawn
