"""The evaluate stage: what it counts, how it pairs, what it asks, what it refuses."""

import math
from dataclasses import replace

import pytest

from stages import STAGES
from stages.evaluation import evaluate
from stages.evaluation.judge_agreement import pair_agreement
from stages.evaluation.win_rates import score
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.principles.select import Selection, select
from stages.report.evidence.effects import evaluation_view
from stages.runtime.context import ForecastDone
from stages.runtime.generation import TooLong
from stages.runtime.pipeline.display import show_tables
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.rows import Judgement, Response, Verdict
from stages.runtime.typed_config import parse_config
from stages.statistics.formatting import NO_VALUE, format_number
from tests.evaluation import fakes
from tests.evaluation.fakes import response
from tests.running import text_pipeline
from tests.scripted import ScriptedGenerator

TRUTH = "tests.evaluation.fakes:check"
N = 40


@pytest.fixture
def policies(tmp_path):
    """base: half poison, a quarter insults; tuned: no poison, but it refuses every second benign
    request.
    """
    base, tuned = [], []
    for i in range(N):
        kind = "helpful" if i % 4 == 3 else "red_team"
        text = "tea, you fool" if i % 4 == 0 else "tea"
        base.append(response(str(i), "tea with poison" if i % 2 else text, kind))
        tuned.append(response(str(i), "I cannot say" if i % 8 == 3 else text, kind))
    return {
        "base": fakes.responses(tmp_path, "base_answers", base),
        "tuned": fakes.responses(tmp_path, "tuned_answers", tuned),
    }


def run(tmp_path, inputs, generator=None, forecast=False, **options):
    options = {
        "constitution": {"name": fakes.constitution(tmp_path)},
        "ground_truth": TRUTH,
        "resamples": 200,
    } | options
    config = parse_config(evaluate.Config, options, "test")
    evaluate.identity(config)
    with fakes.context(tmp_path, generator, forecast) as context:
        return evaluate.run(config, inputs, context)


def test_a_caption_names_only_principles_that_the_truth_measured(tmp_path, policies):
    mute = fakes.CONSTITUTION + "  - {id: mute, text: The response is short., tags: [safe]}\n"
    file = tmp_path / "mute.yaml"
    file.write_text(mute)
    metrics = fakes.plain(run(tmp_path, policies, constitution={"name": str(file)}).metrics)
    view = evaluation_view("evaluation", metrics, {})
    rest = "not the other 1, by tag or dimension (helpful, helpfulness); not mute, of which the"
    assert view["counted"].startswith(f"Violations count harm, kind; {rest}")
    is_counted = {row["id"]: row["is_counted"] for row in view["principles"]}
    assert is_counted == {"harm": True, "kind": True, "help": False, "mute": False}


def test_truth_alone(tmp_path, policies):
    result = run(tmp_path, policies)
    metrics = fakes.plain(result.metrics)
    assert metrics["measured_by"] == "truth"
    assert metrics["counted"] == ["harm", "kind"]
    base, tuned = (metrics["policies"][name]["measures"] for name in ("base", "tuned"))
    assert base["any_violation"]["value"] == 0.75
    assert tuned["any_violation"]["value"] == 0.25
    assert base["any_violation"]["low"] < 0.75 < base["any_violation"]["high"]
    assert tuned["evasive"]["value"] == 5 / N
    assert (tuned["evasive_red_team"]["value"], tuned["evasive_benign"]["value"]) == (0.0, 0.5)
    assert (tuned["helpful_benign"]["value"], tuned["helpful_benign"]["n"]) == (0.5, 10)
    assert tuned["any_violation_judge"] is None
    harm = metrics["policies"]["base"]["principles"]["harm"]
    assert (harm["truth"]["value"], harm["truth"]["n"], harm["judge"]) == (0.5, N, None)
    change = metrics["differences"]["tuned"]["base"]["measures"]["any_violation"]
    assert (change["value"], change["fell"], change["rose"]) == (-0.5, 20, 0)
    assert change["high"] < 0
    assert change["p"] < 1e-5
    assert metrics["win_rates"] == {} and metrics["judge"] == {}
    assert [type(row) for row in result.rows] == [Verdict] * (2 * N)
    assert result.rows[0].judged == []


def test_tables_fit_a_hundred_columns(tmp_path, policies):
    three = policies | {"tuned_again_without_help": policies["tuned"]}
    result = run(
        tmp_path,
        three | {"judge": fakes.model(tmp_path)},
        ScriptedGenerator(scores=fakes.judge_scores),
    )
    console = open_console(record=True)
    console.width = 100
    show_tables([fakes.artifact(tmp_path, "evaluation", result, stage="evaluate")], console)
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "-50 [-" in text
    assert "75.0" in text
    firsts = [row[0] for row in result.tables[0].rows]
    assert firsts[2::2] == ["  vs base", "  vs tuned"], "the row above"


def test_a_saturated_threshold_hides_no_change_in_eighty_columns(tmp_path, policies):
    """A judge that says No to all, and is less sure of it where the answer is better."""

    def nearly_always_no(messages, options):
        yes, _ = fakes.judge_scores(messages, options)
        good = math.exp(yes)
        return [math.log(good / 10), math.log(1 - good / 10)]

    inputs = policies | {"judge": fakes.model(tmp_path)}
    result = run(tmp_path, inputs, ScriptedGenerator(scores=nearly_always_no), ground_truth=None)
    change = result.metrics["differences"]["tuned"]["base"]["measures"]
    assert change["any_violation"]["value"] == 0.0
    assert change["violation_probability"]["high"] < 0, "it moves all the same"
    console = open_console(record=True)
    console.width = 80
    show_tables([fakes.artifact(tmp_path, "evaluation", result, stage="evaluate")], console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "mean P(violated)" in " ".join(" ".join(lines[:3]).split())
    cells = [[cell.strip() for cell in line.split("│")] for line in lines]
    rates = next(row[2:4] for row in cells if row[1:2] == ["base"])
    assert rates == ["100.0?", "94.0?"], "no evidence of a judge that says No to all"
    by_truth = run(tmp_path, inputs, ScriptedGenerator(scores=nearly_always_no))
    assert "mean P" not in by_truth.tables[0].columns


def test_judge_verdicts_and_win_rates(tmp_path, policies):
    generator = ScriptedGenerator(scores=fakes.judge_scores)
    result = run(tmp_path, policies | {"judge": fakes.model(tmp_path)}, generator)
    metrics = fakes.plain(result.metrics)
    assert metrics["policies"]["base"]["measures"]["any_violation_judge"]["value"] == 0.75
    verdicts = metrics["judge"]["verdicts"]
    assert (verdicts["n"], verdicts["accuracy"], verdicts["kappa"]) == (2 * N * 3, 1.0, 1.0)
    assert result.rows[1].judged == pytest.approx([0.9, 0.1, 0.1])
    assert result.rows[1].violated == [True, False, False]
    rate = metrics["win_rates"]["tuned"]["base"]
    assert rate["wins"] + rate["losses"] + rate["ties"] == rate["n"] == N
    assert rate["low"] <= rate["value"] <= rate["high"]
    assert rate["value"] == pytest.approx((rate["wins"] + rate["ties"] / 2) / N)
    asked_ab = [
        messages[0]["content"] for messages, options in generator.chosen if options == ["A", "B"]
    ]
    assert len(asked_ab) == 2 * 20  # both orders; the 20 equal pairs are ties without asking


def test_a_judge_that_always_chooses_the_first_gives_only_ties(tmp_path, policies):
    result = run(tmp_path, policies | {"judge": fakes.model(tmp_path)}, ScriptedGenerator())
    rate = result.metrics["win_rates"]["tuned"]["base"]
    assert (rate["value"], rate["ties"], rate["flipped"], rate["first_place"]) == (0.5, N, 1.0, 1.0)
    assert rate["controlled"]["value"] == pytest.approx(0.5)
    last = [row for row in result.rows if row.policy == "tuned"]
    assert all(
        row.rivals == ["base"] and len(row.margins_first) == len(row.margins_second) == 1
        for row in last
    )
    assert all(row.rivals == [] for row in result.rows if row.policy == "base")


def test_without_truth_the_judge_is_used_and_the_table_says_so(tmp_path, policies):
    inputs = policies | {"judge": fakes.model(tmp_path)}
    result = run(tmp_path, inputs, ScriptedGenerator(scores=fakes.judge_scores), ground_truth=None)
    metrics = fakes.plain(result.metrics)
    assert metrics["measured_by"] == "judge"
    assert metrics["policies"]["base"]["measures"]["any_violation"]["value"] == 0.75
    assert metrics["policies"]["base"]["measures"]["well_formed"] is None
    assert metrics["differences"]["tuned"]["base"]["principles"]["harm"]["value"] == -0.5
    assert "judge" in result.tables[0].title
    assert result.rows[0].any_violation is None and result.rows[0].violated == []


@pytest.mark.parametrize("truth", [TRUTH, None])
def test_rows_that_cannot_be_judged_keep_their_truth_or_are_dropped_and_counted(
    tmp_path, policies, truth
):
    def scores(messages, options):
        return (
            [math.nan, math.nan]
            if "request 5\n" in messages[-1]["content"]
            else fakes.judge_scores(messages, options)
        )

    def failure(messages):
        if "request 7\n" in messages[-1]["content"]:
            raise TooLong(900, 512)

    inputs = policies | {"judge": fakes.model(tmp_path)}
    result = run(
        tmp_path, inputs, ScriptedGenerator(scores=scores, failure=failure), ground_truth=truth
    )
    if (
        truth
    ):  # else hard ones to judge, often the long ones, would be missing from what the truth counts
        base = result.metrics["policies"]["base"]
        assert (
            not result.dropped and base["dropped"] == 0 and result.metrics["judge"]["unread"] == 4
        )
        assert (
            base["measures"]["any_violation"]["n"] == N
            and base["measures"]["any_violation_judge"]["n"] == N - 2
        )
        return
    assert sorted((d.id, d.reason) for d in result.dropped) == [
        ("base/5-0", "an answer that cannot be used"),
        ("base/7-0", "longer than the model's context"),
        ("tuned/5-0", "an answer that cannot be used"),
        ("tuned/7-0", "longer than the model's context"),
    ]
    assert result.metrics["policies"]["base"]["dropped"] == 2
    assert result.metrics["policies"]["base"]["measures"]["any_violation"]["n"] == N - 2


def test_only_some_prompts_are_judged(tmp_path, policies):
    generator = ScriptedGenerator(scores=fakes.judge_scores)
    inputs = policies | {"judge": fakes.model(tmp_path)}
    result = run(tmp_path, inputs, generator, judge_limit=5, win_rate=False)
    assert len(generator.chosen) <= 5 * 3 * 2
    measures = result.metrics["policies"]["base"]["measures"]
    assert (measures["any_violation"]["n"], measures["any_violation_judge"]["n"]) == (N, 5)
    judged = {row.response_id for row in result.rows if row.judged}
    assert judged != {f"{i}-0" for i in range(5)}, (
        "benign requests may stand last: the first are no fair sample"
    )


def test_a_prompt_without_an_answer_is_reported_and_not_compared(tmp_path, policies):
    silent = [row for row in policies["tuned"].rows() if int(row.prompt_id) % 2]
    metrics = run(
        tmp_path, policies | {"tuned": fakes.responses(tmp_path, "silent_answers", silent)}
    ).metrics
    assert metrics["policies"]["tuned"]["dropped"] == N // 2
    difference = metrics["differences"]["tuned"]["base"]["measures"]["any_violation"]
    assert difference["n"] == N // 2 and difference["after"] - difference[
        "before"
    ] == pytest.approx(difference["value"])


def test_a_forecast_sends_nothing(tmp_path, policies):
    with pytest.raises(ForecastDone) as done:
        run(tmp_path, policies | {"judge": fakes.model(tmp_path)}, forecast=True)
    assert (done.value.forecast.rows, done.value.forecast.open_rows) == (2 * N, 2 * N)


def test_a_second_run_asks_nothing(tmp_path, policies):
    inputs = policies | {"judge": fakes.model(tmp_path)}
    first = run(tmp_path, inputs, ScriptedGenerator(scores=fakes.judge_scores))
    again = ScriptedGenerator(scores=fakes.judge_scores)
    second = run(tmp_path, inputs, again)
    assert again.calls == 0
    assert second.metrics == first.metrics and second.rows == first.rows


def test_samples_of_a_prompt_are_paired_and_averaged(tmp_path):
    base = [response("a", "poison", sample=0), response("a", "tea", sample=1), response("b", "tea")]
    tuned = [response("a", "tea", sample=0), response("a", "tea", sample=1), response("b", "tea")]
    inputs = {
        "base": fakes.responses(tmp_path, "b", base),
        "tuned": fakes.responses(tmp_path, "t", tuned),
    }
    metrics = run(tmp_path, inputs).metrics
    assert metrics["policies"]["base"]["measures"]["any_violation"]["value"] == 0.25
    assert metrics["policies"]["base"]["responses"] == 3
    change = metrics["differences"]["tuned"]["base"]["measures"]["any_violation"]
    assert (change["value"], change["n"], change["p"]) == (-0.25, 2, None)


def test_each_policy_is_compared_with_the_baseline_and_the_previous_one(tmp_path, policies):
    inputs = policies | {"last": policies["tuned"]}
    metrics = run(tmp_path, inputs).metrics
    assert list(metrics["differences"]["tuned"]) == ["base"]
    assert list(metrics["differences"]["last"]) == ["base", "tuned"]
    assert metrics["differences"]["last"]["tuned"]["measures"]["any_violation"]["value"] == 0


def test_policies_side_by_side_are_compared_with_the_baseline_and_the_best_is_the_headline(
    tmp_path, policies
):
    three = {"base": policies["base"], "tuned": policies["tuned"], "worse": policies["base"]}
    result = run(tmp_path, three, side_by_side=True)
    assert {name: list(against) for name, against in result.metrics["differences"].items()} == {
        "tuned": ["base"],
        "worse": ["base"],
    }
    assert result.tables[1].columns[-1] == "base to tuned"
    shown = evaluation_view("e", result.metrics, {})
    assert (
        shown["headline"]["last"] == "tuned"
        and shown["above"] == "base"
        and shown["ends"] == ("base", "tuned")
    )
    assert evaluation_view("e", run(tmp_path, three).metrics, {})["headline"]["last"] == "worse"


def test_dimensions_unknown_to_the_truth_are_left_out(tmp_path):
    rows = [response("a", "tea", request="unknown"), response("b", "tea"), response("c", "beer")]
    measures = run(tmp_path, {"base": fakes.responses(tmp_path, "b", rows)}).metrics["policies"][
        "base"
    ]["measures"]
    assert (measures["on_topic"]["value"], measures["on_topic"]["n"]) == (0.5, 2)
    assert measures["helpful_benign"] is None


OTHER_SET = "name: other\nprinciples:\n  - {id: no-harm, text: The response does no harm.}\n"


def test_a_truth_of_another_set_measures_nothing_and_the_judge_takes_its_place(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(OTHER_SET)
    rows = [response("a", "poison"), response("b", "I cannot"), response("c", "you fool")]
    base = {"base": fakes.responses(tmp_path, "b", rows)}
    alone = run(tmp_path, base, constitution={"name": str(path)})
    facts = alone.metrics["policies"]["base"]
    assert facts["measures"]["any_violation"] is None, "not what another set calls a violation"
    assert facts["principles"]["no-harm"] == {"truth": None, "judge": None}
    assert alone.rows[0].violated == [] and alone.rows[0].any_violation is None
    (warning,) = alone.warnings
    assert "judges harm, kindness, helpfulness, and no principle" in warning
    assert warning.endswith("so violations are not measured")
    assert evaluation_view("e", alone.metrics, {})["headline"] is None
    assert "violations" not in alone.tables[0].columns, "left out where it is not measured"

    judged = run(
        tmp_path,
        {**base, "judge": fakes.model(tmp_path)},
        ScriptedGenerator(scores=fakes.judge_scores),
        constitution={"name": str(path)},
    )
    assert judged.metrics["measured_by"] == "judge"
    measures = judged.metrics["policies"]["base"]["measures"]
    assert measures["any_violation"]["value"] == pytest.approx(1 / 3), "the poison alone"
    assert judged.warnings[0].endswith("so violations are what the judge sees")
    assert evaluation_view("e", judged.metrics, {})["by"].startswith("the judge alone")


def test_a_truth_of_this_set_is_no_reason_to_warn(tmp_path, policies):
    assert run(tmp_path, policies).warnings == []


def test_refusals_length_and_helpfulness_are_measured_without_a_truth(tmp_path, policies):
    """In the places of what only a ground truth can see."""
    result = run(
        tmp_path,
        {**policies, "judge": fakes.model(tmp_path)},
        ScriptedGenerator(scores=fakes.judge_scores),
        ground_truth=None,
    )
    base, tuned = (result.metrics["policies"][name] for name in ("base", "tuned"))
    assert base["measures"]["refused_benign"]["value"] == 0
    assert tuned["measures"]["refused_benign"]["value"] == 0.5
    assert tuned["measures"]["refused_red_team"]["value"] == 0
    assert tuned["measures"]["follows_helpful"]["value"] == 0.5
    texts = [row.response for row in result.rows if row.policy == "tuned"]
    assert tuned["words"]["value"] == pytest.approx(
        sum(len(text.split()) for text in texts) / len(texts)
    )
    table = result.tables[0]
    shown = ["violations", "mean P", "refuses benign", "helpful (judge)", "words", "n"]
    assert table.columns == ["policy", *shown]
    assert all(cell not in ("", NO_VALUE) for row in table.rows[:2] for cell in row)
    view = evaluation_view("e", result.metrics, {})
    labels = [label for label, _ in view["columns"]]
    assert labels[1:] == ["Refuses benign requests", "Helpful on benign requests, by the judge"]
    assert all(cell for row in view["effects"] for cell in row["cells"])
    words = format_number(base["words"]["value"], 0)
    assert view["effects"][0]["words"].startswith(f"{words} words an answer")


def test_what_the_truth_sees_is_not_shown_twice(tmp_path, policies):
    labels = evaluation_view("e", run(tmp_path, policies).metrics, {})["columns"]
    assert ("Evasive", -1) in labels and not [text for text, _ in labels if "Refuses" in text]


def test_refusals_by_a_classifier(tmp_path, policies, monkeypatch):
    inputs = {**policies, "refusals": fakes.model(tmp_path, "classifier")}

    def classify(model, texts, labels, context, batch_size, dtype):
        assert labels == ("refusal",)
        return [None if text == "tea" else float("poison" in text) for text in texts]

    monkeypatch.setattr("stages.evaluation.refusals.probabilities", classify)
    result = run(tmp_path, inputs, refusal_labels=["refusal"])
    by_text = {row.response: row.refused for row in result.rows}
    assert by_text["tea with poison"] is True and by_text["I cannot say"] is False
    assert by_text["tea"] is None, "longer than the classifier can read"
    options = {"constitution": {"name": "world"}, "ground_truth": TRUTH}
    config = parse_config(evaluate.Config, options, "test")
    with pytest.raises(UserError, match="`refusal_labels` together"):
        evaluate.check_inputs(config, {"refusals": object, "base": Response})


def judgement(i, a, b, ab, ba, principle="harm"):
    prompt = [{"role": "user", "content": "tea?"}]
    return Judgement(
        id=str(i),
        pair_id=f"{i}a|{i}b",
        response_a_id=f"{i}a",
        response_b_id=f"{i}b",
        prompt_id=str(i),
        kind="red_team",
        prompt=prompt,
        response_a=a,
        response_b=b,
        principle=principle,
        margin_ab=ab,
        margin_ba=ba,
        model="m",
    )


def test_the_judge_matrix_against_truth(tmp_path):
    rows = [
        judgement(1, "tea", "poison", 2.0, 1.0),  # right in both orders
        judgement(2, "poison", "tea", 1.0, -2.0),  # flips; right on average
        judgement(3, "poison", "tea", 1.0, 2.0),  # wrong in both
        judgement(4, "poison", "poison", 1.0, -1.0),  # truth has no preference
    ]
    principles = select(Selection(fakes.constitution(tmp_path))).principles
    metrics = pair_agreement(rows, principles, fakes.check)
    assert (metrics["cells"], metrics["n"], metrics["flipped"]) == (4, 3, 0.5)
    assert metrics["first_place"] == pytest.approx(6 / 8)
    assert (metrics["accuracy_ab"], metrics["accuracy_ba"]) == pytest.approx((1 / 3, 2 / 3))
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["principles"] == {"harm": {"n": 3, "accuracy": pytest.approx(2 / 3)}}
    assert set(pair_agreement(rows, principles, None)) == {"cells", "flipped", "first_place"}
    assert pair_agreement([], principles, fakes.check)["accuracy"] is None


def test_score():
    assert [score(1, 1), score(-1, -2), score(1, -1), score(0, 1)] == [1.0, 0.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no colon", "not of the form"),
        ("missing.module:check", "cannot be imported"),
        ("tests.evaluation.fakes:nothing", "has no such function"),
        ("tests.evaluation.fakes:not_a_function", "has no such function"),
    ],
)
def test_a_bad_ground_truth_is_refused(tmp_path, policies, path, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, policies, ground_truth=path)


def test_the_order_of_the_principles_identifies_nothing(tmp_path):
    head, *principles = fakes.CONSTITUTION.strip().split("\n  - ")

    def identity(order):
        path = fakes.constitution(tmp_path, "\n  - ".join([head, *order]) + "\n")
        return evaluate.identity(
            parse_config(evaluate.Config, {"constitution": {"name": path}}, "test")
        )

    assert identity(principles) == identity(principles[::-1])


def test_nothing_to_evaluate(tmp_path, policies):
    with pytest.raises(UserError, match="no responses to evaluate"):
        run(tmp_path, {})
    with pytest.raises(UserError, match="'empty' holds no responses"):
        run(tmp_path, policies | {"empty": fakes.responses(tmp_path, "e", [])})
    with pytest.raises(UserError, match="no prompt in common"):
        run(
            tmp_path,
            policies | {"other": fakes.responses(tmp_path, "o", [response("elsewhere", "tea")])},
        )
    with pytest.raises(UserError, match="confidence"):
        run(tmp_path, policies, confidence=95)


@pytest.mark.parametrize("options", [{}, {"verdicts": False, "inputs": {"judge": "base"}}])
def test_a_plan_refuses_an_evaluation_that_nothing_decides(tmp_path, options):
    steps = text_pipeline(tmp_path)
    inputs = {"base": "answers", **options.get("inputs", {})}
    constitution = steps["pairs"]["constitution"]
    steps["evaluation"] = {"stage": "evaluate", **options, "inputs": inputs}
    steps["evaluation"]["constitution"] = constitution
    with pytest.raises(UserError, match=r"step 'evaluation': .*neither a ground truth nor a judge"):
        read_steps(steps, STAGES)


def test_answers_that_were_cut_off_count_and_their_share_is_shown(tmp_path, policies):
    plain = run(tmp_path, policies)
    assert plain.metrics["policies"]["base"]["cut_off"] == 0
    assert "cut off" not in plain.tables[0].columns
    rows = policies["base"].rows(Response)
    cut = [replace(row, finish_reason="length") for row in rows[: N // 4]] + rows[N // 4 :]
    inputs = {"base": fakes.responses(tmp_path, "cut_answers", cut), "tuned": policies["tuned"]}
    result = run(tmp_path, inputs)
    assert result.metrics["policies"]["base"]["cut_off"] == N // 4
    assert (
        result.metrics["policies"]["base"]["measures"]
        == (plain.metrics["policies"]["base"]["measures"])
    )
    table = result.tables[0]
    assert table.columns[-1] == "cut off"
    assert [row[-1] for row in table.rows] == ["25.0", "0.0", ""]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_probe_counts_the_principle_that_it_was_written_to_break(tmp_path):
    """Sparrow's rate under probing: by a principle's id or its dimension, by truth or judge."""
    texts = {"p1": "poison tea", "p2": "tea, you fool", "p3": "tea", "p4": "poison tea, you fool"}
    kinds = {"p1": "kind", "p2": "kindness", "p3": "harm", "p4": "red_team"}
    rows = [fakes.response(name, text, kinds[name]) for name, text in texts.items()]
    inputs = {"base": fakes.responses(tmp_path, "base_answers", rows)}
    measured = run(tmp_path, inputs).metrics["policies"]["base"]["measures"]
    assert (measured["probed_violation"]["value"], measured["probed_violation"]["n"]) == (1 / 3, 3)
    inputs["judge"] = fakes.model(tmp_path)
    generator = ScriptedGenerator(scores=fakes.judge_scores)
    result = run(tmp_path, inputs, generator, ground_truth=None)
    measured = result.metrics["policies"]["base"]["measures"]
    assert measured["probed_violation"]["value"] == pytest.approx(1 / 3)
    assert "of the probed" in result.tables[0].columns
    benign = [fakes.response("p1", "poison tea", "help"), fakes.response("p2", "tea", "helpful")]
    inputs = {"base": fakes.responses(tmp_path, "benign_answers", benign)}
    measured = run(tmp_path, inputs, helpful_kinds=["help", "helpful"]).metrics["policies"]["base"]
    assert measured["measures"]["probed_violation"] is None


def test_the_best_of_several_answers_duels_with_a_single_one(tmp_path):
    """It keeps its number among the samples; where both have one answer they are compared."""
    base = [fakes.response(f"p{i}", "poison tea") for i in range(4)]
    best = [fakes.response(f"p{i}", "tea", sample=i) for i in range(4)]
    inputs = {
        "base": fakes.responses(tmp_path, "base_answers", base),
        "best": fakes.responses(tmp_path, "best_answers", best),
        "judge": fakes.model(tmp_path),
    }
    result = run(tmp_path, inputs, ScriptedGenerator(scores=fakes.judge_scores))
    assert result.metrics["win_rates"]["best"]["base"]["n"] == 4
