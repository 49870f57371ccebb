"""A judge's examination on the page: its verdicts, its readings and its questions."""

import re

import pytest

from stages.report import report
from stages.runtime.typed_config import parse_config
from tests.evaluation import fakes
from tests.evaluation.instrument.test_examine_judge import JUDGES, examine
from tests.report.test_report import BROWSER, Page, browse

CHOOSE = """<script>
(async () => {
  const steps = document.getElementById("step");
  for (let i = 0; i < 100 && !document.querySelector(".entry"); i++)
    await new Promise((resume) => setTimeout(resume, 20));
})();
</script>"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of an examination of a judge that leans to B and to No by seven nats."""
    folder = tmp_path_factory.mktemp("examined")
    result = examine(folder, JUDGES["leaning"][0])
    source = fakes.artifact(folder, "judge_examination", result, stage="examine_judge")
    with fakes.context(folder) as context:
        report.run(parse_config(report.Config, {}, "test"), {"examination": source}, context)
    path = folder / "evaluation-00000000" / "report.html"
    return result, Page(path.read_text(encoding="utf-8")), path, folder


def test_verdicts_reasons_and_readings(written):
    result, page, path, _ = written
    assert "(<code>calibration</code>)" in path.read_text(encoding="utf-8")
    text = " ".join(page.text.split())
    assert "The judge, examined" in text and f"{len(result.rows)} questions of one token" in text
    assert "Choices, A or B: usable when debiased" in text
    assert "Yes or No: usable when debiased" in text
    for form in ("choices", "yes_no"):
        for reason in result.metrics[form]["reasons"]:
            assert f"{reason}." in text
        advice = "; ".join(result.metrics[form]["advice"]).replace("`", "")
        assert f"To do: {advice}." in text
    assert "its log-odds of Yes lean to No" in text
    for reading in ("turns with the principle", "flips with the order", "the first place wins"):
        assert reading in text
    turning = result.metrics["choices"]["turning"]["value"]
    assert f"{turning:.2f}" in text
    assert "To do: take another judge" not in text


def test_its_questions_can_be_browsed(written):
    result, page, _, _ = written
    (section,) = page.rows
    assert section["kind"] == "Question"
    contrasts = {(row.prompt_id, row.contrast) for row in result.rows}
    assert section["total"] == len(section["entries"]) == len(contrasts)
    entry = next(each for each in section["entries"] if each["id"].endswith("natural"))
    rows = {}
    for row in result.rows:
        if f"{row.prompt_id}, {row.contrast}" == entry["id"]:
            rows[row.form, row.wording, row.place] = row
    first = rows["choices", "principle", "ab"]
    assert (entry["a"], entry["b"]) == (first.first, first.second)
    principle, shown_first, shown_second, verdict = entry["cells"][0]
    assert principle == first.principle
    assert entry["cells"][1][0] == f"{first.principle}, opposite"
    assert shown_first == pytest.approx(first.log_odds)
    assert shown_second == pytest.approx(-rows["choices", "principle", "ba"].log_odds)
    assert verdict == "flips: it prefers what it reads second"
    of_a = rows["yes_no", "principle", "a"].log_odds
    assert entry["yes_no"][0][1] == pytest.approx(of_a) and entry["yes_no"][0][3] == "No and No"
    assert len(entry["cells"]) == 3 and len(entry["yes_no"]) == 2, "what was asked of both"


@pytest.mark.skipif(not BROWSER, reason="no Chromium here: the page's script is not run")
def test_the_script_draws_them(written):
    _, _, path, folder = written
    drawn, errors = browse(path, CHOOSE, folder)
    assert not errors
    assert "log-odds of Yes" in drawn and "margins for A" in drawn
    assert re.search(r"<td[^>]*>No and No</td>", drawn)
