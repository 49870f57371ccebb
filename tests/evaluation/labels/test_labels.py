"""From an evaluation to a file for people, from the filled file to corrected rates."""

import csv
import json
from math import log

import pytest

from stages.evaluation.labels.corrected import correction_warnings
from stages.guards.errors import UserError
from stages.report.exports import label
from stages.runtime.artifacts import Result
from stages.runtime.rows import Label, Pair, Verdict
from stages.runtime.typed_config import parse_config
from tests.evaluation import fakes
from tests.evaluation.test_in_a_pipeline import steps
from tests.running import run_steps
from tests.scripted import ScriptedGenerator

REQUESTS = 120


def number(messages) -> int:
    return int(messages[-1]["content"].partition("request ")[2].split()[0])


def judge_with_errors(messages, options):
    """Misses every third poison, and sees one in every tenth answer without it; never sure."""
    scores = fakes.judge_scores(messages, options)
    if options[0] != "Yes" or "does no harm" not in messages[-1]["content"]:
        return scores
    place = number(messages)
    broken = scores[0] < scores[1]
    wrong = place % 3 == 0 if broken else place % 10 == 0
    yes = (0.35 if broken else 0.8) if not wrong else (0.6 if broken else 0.45)
    return [log(yes), log(1 - yes)]


async def opener(name, model, options):
    """base poisons two of three cups, tuned one of five."""
    share = (3, 2) if "base" in model.path else (5, 1)

    def text(messages):
        place = number(messages)
        poison = " with poison" if place % share[0] < share[1] else ""
        return f"=tea {place}{poison}"

    return ScriptedGenerator(text=text, scores=judge_with_errors)


@pytest.fixture
def folder(tmp_path):
    fakes.constitution(tmp_path)
    fakes.model(tmp_path, "base")
    fakes.model(tmp_path, "tuned")
    lines = [json.dumps({"prompt": f"request {i}"}) for i in range(REQUESTS)]
    (tmp_path / "requests.jsonl").write_text("\n".join(lines))
    return tmp_path


def draw_step(**options):
    return {"stage": "label", "inputs": {"verdicts": "evaluation"}, **options}


def fill_in(path, filled):
    """A spreadsheet: other order, an apostrophe more or less, one line left empty."""
    with path.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    lines.reverse()
    for line in lines:
        line["label"] = "Yes" if "poison" in line["response"] else "no"
    lines[0]["label"] = ""
    with filled.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return lines


def test_two_commands(folder):
    without_truth = {"ground_truth": None}
    wanted = steps(folder, **without_truth)
    wanted |= {"to_label": draw_step(prompts=60)}
    _, made = run_steps(wanted, folder, opener=opener)
    to_label = made["to_label"]
    assert to_label.metrics["drawn"] == 60 and len(to_label.rows(Label)) <= 120
    path = to_label.directory / "labels.csv"
    text = path.read_text(encoding="utf-8")
    assert "base" not in text and "tuned" not in text, "blind to the policy"
    assert "'=tea" in text, "no spreadsheet runs an answer"
    assert "1. The response does no harm.\n2. The response is kind." in text
    lines = fill_in(path, folder / "filled.csv")

    wanted = steps(folder, **without_truth)
    wanted["labels"] = {"stage": "label", "source": str(folder / "filled.csv")}
    wanted["evaluation"]["inputs"]["labels"] = "labels"
    _, made = run_steps(wanted, folder, opener=opener)
    assert made["labels"].metrics == {"labels": len(lines) - 1, "empty": 1}
    corrected = made["evaluation"].metrics["corrected"]
    assert corrected["source"] == "people" and corrected["drawn"] == 60
    question = corrected["questions"]["any"]
    truth = {"base": 2 / 3, "tuned": 1 / 5}
    for name, exact in truth.items():
        rate = question["rates"][name]
        for method in ("gold", "ppi", "misclassification"):
            assert rate[method]["low"] <= exact <= rate[method]["high"], (name, method)
        assert question["errors_from"][name] == name
    assert not question["rates"]["base"]["raw"]["high"] > 2 / 3, "the judge alone misses it"
    change = question["differences"]["tuned"]["base"]
    assert change["ppi"]["low"] <= 1 / 5 - 2 / 3 <= change["ppi"]["high"]
    assert change["raw"]["n"] == REQUESTS and change["ppi"]["labels"] >= 59
    shown = [
        table for table in made["evaluation"].manifest.tables if "labels of people" in table.title
    ]
    assert len(shown) == 1 and shown[0].rows[2][0] == "  less base"
    page = (made["report"].directory / "report.html").read_text(encoding="utf-8")
    assert "The judge, corrected by labels" in page


def test_one_question_for_each_principle(folder):
    wanted = steps(folder, ground_truth=None)
    wanted |= {"to_label": draw_step(prompts=20, ask="each")}
    _, made = run_steps(wanted, folder, opener=opener)
    rows = made["to_label"].rows(Label)
    assert {row.wording for row in rows} == {
        "The response does no harm.",
        "The response is kind.",
        "The response helps.",
    }
    assert len({row.prompt_id for row in rows}) == 20 and len(rows) % 3 == 0

    path = made["to_label"].directory / "labels.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    for line in lines:
        asked_about_harm = line["principle"] == "The response does no harm."
        line["label"] = "yes" if asked_about_harm and "poison" in line["response"] else "no"
    with (folder / "each.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    wanted = steps(folder, ground_truth=None)
    wanted["labels"] = {"stage": "label", "source": str(folder / "each.csv")}
    wanted["evaluation"]["inputs"]["labels"] = "labels"
    _, made = run_steps(wanted, folder, opener=opener)
    questions = made["evaluation"].metrics["corrected"]["questions"]
    assert set(questions) == {"any", "harm", "kind", "help"}
    gold = {name: each["rates"]["base"]["gold"]["value"] for name, each in questions.items()}
    assert gold["any"] == gold["harm"] > 0.4, "an answer breaks any principle if it breaks one"


def test_only_what_the_judge_has_seen_is_drawn(folder):
    wanted = steps(folder, judge_limit=30, win_rate=False)
    wanted |= {"to_label": draw_step(prompts=60)}
    _, made = run_steps(wanted, folder, opener=opener)
    judged = {row.prompt_id for row in made["evaluation"].rows(Verdict) if row.judged}
    rows = made["to_label"].rows(Label)
    assert {row.prompt_id for row in rows} == judged and len(judged) == 30
    assert {row.probability for row in rows} == {1.0}


def test_the_ground_truth_of_some_prompts_serves_as_labels(folder):
    wanted = steps(folder, truth_as_labels=60)
    _, made = run_steps(wanted, folder, opener=opener)
    corrected = made["evaluation"].metrics["corrected"]
    assert corrected["source"] == "truth" and corrected["missing"] == {"base": 0, "tuned": 0}
    question = corrected["questions"]["any"]
    assert question["labels"] == {"base": 60, "tuned": 60}
    exact = made["evaluation"].metrics["policies"]["base"]["measures"]["any_violation"]["value"]
    assert (
        question["rates"]["base"]["ppi"]["low"] <= exact <= question["rates"]["base"]["ppi"]["high"]
    )
    assert {"harm", "kind", "help"} <= set(corrected["questions"])


def read(tmp_path, text, name="filled.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    config = parse_config(label.Config, {"source": str(path)}, "test")
    label.identity(config)
    with fakes.context(tmp_path) as context:
        return label.run(config, {}, context)


def test_filled_files_that_cannot_be_read(tmp_path):
    good = "id,label,probability\nLabc-123,yes,0.5\n"
    result = read(tmp_path, good + "Labd-124,,0.5\n,no,\n")
    assert [(row.label, row.prompt_id) for row in result.rows] == [(1.0, "123"), (None, "124")]
    assert [row.reason for row in result.dropped] == ["no id of a label"]
    with pytest.raises(UserError, match="'maybe' where yes or no is expected") as failure:
        read(tmp_path, good + "Labd-124,maybe,0.5\n")
    assert failure.value.where.endswith("filled.csv:3")
    with pytest.raises(UserError, match="'safe' where yes or no"):
        read(tmp_path, good.replace("yes", "safe"))
    for wrong in ("0", "1.5", "often"):
        with pytest.raises(UserError, match="the probability of the draw"):
            read(tmp_path, good.replace("0.5", wrong))
    with pytest.raises(UserError, match="there is no column 'label'"):
        read(tmp_path, good.replace("label", "verdict"))
    with pytest.raises(UserError, match="no line has a label"):
        read(tmp_path, good.replace("yes", ""))
    rows = read(tmp_path, '{"id": "Labc-123", "label": false}\n', "filled.jsonl").rows
    assert (rows[0].label, rows[0].probability) == (0.0, 1.0)


def test_what_a_plan_refuses(tmp_path):
    for options, inputs in (
        ({}, {}),
        ({"source": "x.csv"}, {"verdicts": None}),
        ({}, {"verdicts": None, "pairs": None}),
    ):
        with pytest.raises(UserError, match="rows to draw from, or a filled file"):
            label.check_inputs(label.Config(**options), inputs)


def test_pairs_for_people_are_read_by_human_pairs(tmp_path):
    from stages.preferences import human_pairs

    rows = []
    for i in range(30):
        rows.append(
            Pair(
                id=f"p{i}",
                prompt_id=f"r{i}",
                chosen_id="",
                rejected_id="",
                kind="helpful",
                prompt=[{"role": "user", "content": f"request {i}"}],
                chosen=f"good {i}",
                rejected=f"bad {i}",
                label=0.7,
                margin=1.0,
            )
        )
    pairs = fakes.artifact(tmp_path, "pairs", Result(rows=rows, row_type=Pair))
    with fakes.context(tmp_path) as context:
        label.run(label.Config(prompts=20), {"pairs": pairs}, context)
        path = context.directory / "pairs.csv"
        with path.open(newline="", encoding="utf-8") as stream:
            lines = list(csv.DictReader(stream))
        assert len(lines) == 20
        first = sum(line["response_a"].startswith("good") for line in lines)
        assert 3 <= first <= 17, "a coin decides the place"
        for line in lines:
            line["winner"] = "A" if line["response_a"].startswith("good") else "B"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, lines[0])
            writer.writeheader()
            writer.writerows(lines)
        config = parse_config(human_pairs.Config, {"source": str(path)}, "test")
        back = human_pairs.run(config, {}, context).rows
    assert len(back) == 20 and all(row.chosen.startswith("good") for row in back)


def test_warnings_say_what_to_doubt():
    question = {
        "reference": "base",
        "transport": {"tuned": {"value": -0.3, "low": -0.4, "high": -0.2, "carries": False}},
    }
    metrics = {"questions": {"any": question}, "missing": {"base": 0.0, "tuned": 0.25}}
    errs, lacks = correction_warnings(metrics)
    assert errs.startswith("The judge errs on tuned otherwise than on base (by -30.0 [-40.0,-20.0]")
    assert lacks.startswith("25.0 % of the answers of tuned to drawn prompts have no label")


def test_the_table_fits_a_hundred_columns(folder):
    from stages.guards.console import open_console
    from stages.runtime.pipeline.display import show_tables

    wanted = steps(folder, truth_as_labels=60)
    inputs = wanted["evaluation"]["inputs"]
    inputs["tuned_again"] = inputs.pop("tuned")
    _, made = run_steps(wanted, folder, opener=opener)
    console = open_console(record=True)
    console.width = 100
    show_tables([made["evaluation"]], console)
    text = console.export_text()
    lines = text[text.index("corrected by labels") :].splitlines()
    assert max(len(line) for line in lines) <= 100
    row = next(line for line in lines if "tuned_again" in line)
    assert row.count("[") == 4 and "errors undone" in text
