"""Labels that an edit moves, against labels of sets that are written out and labelled anew."""

import json
from types import SimpleNamespace

import pytest

from stages.ablation.jobs import Job
from stages.preferences import judged_pairs
from stages.principles.constitution import Constitution, Principle, to_yaml
from stages.runtime.artifacts import Result, finish_artifact
from stages.runtime.manifest import fingerprint
from stages.runtime.rows import Judgement
from stages.runtime.typed_config import parse_config
from stages.spec_diff.__main__ import main
from stages.spec_diff.behaviour import behaviour
from stages.spec_diff.changelog import as_markdown, write_changelog
from stages.spec_diff.clauses import compare
from stages.spec_diff.moved_labels import forecast, measure
from tests.preferences.matrices import cells

MARGINS = {  # by pair: the margins of a, b and c, the same in both orders
    "p1|q1": (3.0, -1.0, -1.0),
    "p2|q2": (1.0, -2.0, 0.5),
    "p3|q3": (-1.0, -1.0, -1.0),
    "p4|q4": (0.5, 1.0, -3.0),
}


def a_set(**weights):
    rows = []
    for name, weight in weights.items():
        rows.append(
            {"id": name, "text": f"Keep {name}.", "opposite": f"Break {name}.", "weight": weight}
        )
    principles = tuple(Principle.model_validate(row) for row in rows)
    return Constitution(name="test", principles=principles)


def edit(constitution, name, **fields):
    principles = tuple(
        each.model_copy(update=fields) if each.id == name else each
        for each in constitution.principles
    )
    return constitution.model_copy(update={"principles": principles})


def label(tmp_path, constitution, matrix=None, aggregate="mean", name="run", judge=None):
    """The finished steps `judgements` and `pairs`, as the runner leaves them."""
    root = tmp_path / name
    root.mkdir()
    file = root / "set.yaml"
    file.write_text(to_yaml(constitution, "test"))
    rows = []
    for number, (pair, margins) in enumerate((matrix or MARGINS).items()):
        both = {each: (m, m) for each, m in zip("abc", margins, strict=True)}
        rows += cells(pair, both, request=f"request {number}")

    def finish(step, options, inputs, result):
        payload = {"stage": {"judgements": "judge"}.get(step, "judged_pairs"), "seed": 0}
        payload |= {"options": options, "inputs": inputs}
        folder = root / f"{step}-{fingerprint(payload)}"
        folder.mkdir()
        return finish_artifact(folder, step, payload, result, {})

    texts = constitution.identity("text")
    judged = finish(
        "judgements",
        {"constitution": texts, "per_pair": None} | (judge or {}),
        {},
        Result(rows=rows, row_type=Judgement),
    )
    options = {"constitution": {"name": str(file)}, "aggregate": aggregate}
    config = parse_config(judged_pairs.Config, options, "step 'pairs'")
    result = judged_pairs.run(config, {"judgements": judged}, SimpleNamespace(step="p", seed=0))
    stored = {
        **options,
        **judged_pairs.identity(config),
        "orders": "agree",
        "clip": None,
        "cut_off": "drop",
    }
    inputs = {"judgements": judged.fingerprint}
    return finish("pairs", stored, inputs, result), result


def sides(result):
    return {row.id: row.chosen for row in result.rows}


@pytest.mark.parametrize("aggregate", ["mean", "vote", "max_abs", "random", "sum"])
def test_weights_and_clauses_that_are_gone_move_the_labels_that_a_new_run_moves(
    tmp_path, aggregate
):
    old = a_set(a=1, b=1, c=1)
    new = a_set(a=1, b=3)
    step, before = label(tmp_path, old, aggregate=aggregate)
    _, after = label(tmp_path, new, aggregate=aggregate, name="new")
    moved = {pair for pair in MARGINS if sides(before).get(pair) != sides(after).get(pair)}
    result = forecast(step, compare(old, new))
    assert (result.together.move, result.together.open) == (len(moved), 0)
    assert result.together.calls == 0
    assert result.expected.value == pytest.approx(len(moved) / len(MARGINS))
    assert set(result.clauses) == {"b", "c"}


def test_new_words_leave_open_what_they_could_turn_and_cost_two_calls_a_pair(tmp_path):
    old = a_set(a=1, b=1, c=1)
    step, _ = label(tmp_path, old)
    result = forecast(step, compare(old, edit(old, "c", text="Say it in verse.")))
    # the widest margin is 3: c could be -3 to 3 beside the sum of a and b
    could = [-3 < a + b < 3 for a, b, _ in MARGINS.values()]
    assert result.together.open == sum(could)
    assert result.together.stay == len(MARGINS) - sum(could)
    assert (result.together.expected, result.together.calls) == (0, 2 * len(MARGINS))
    added = old.model_copy(update={"principles": (*old.principles, *a_set(d=1).principles)})
    assert forecast(step, compare(old, added)).together.calls == 2 * len(MARGINS)


def test_reasoning_doubles_the_calls_and_drawn_principles_are_a_note(tmp_path):
    old = a_set(a=1, b=1, c=1)
    step, _ = label(tmp_path, old, judge={"reasoning": True, "per_pair": 2})
    result = forecast(step, compare(old, edit(old, "c", text="Say it in verse.")))
    assert result.together.calls == 4 * len(MARGINS)
    assert any("some of the principles" in note for note in result.notes)


def test_a_clause_that_became_its_opposite_is_expected_to_turn_its_cells(tmp_path):
    old = a_set(a=1, b=1, c=1)
    step, _ = label(tmp_path, old)
    turned = edit(old, "a", text="Break a.", opposite="Keep a.")
    expected = 0
    for a, b, c in MARGINS.values():
        expected += (a + b + c > 0) != (-a + b + c > 0) or (a + b + c == 0) != (-a + b + c == 0)
    assert forecast(step, compare(old, turned)).together.expected == expected


def test_another_set_than_the_runs_is_noted(tmp_path):
    old = a_set(a=1, b=1, c=1)
    step, _ = label(tmp_path, old)
    other = edit(edit(old, "a", text="Say it in verse."), "b", weight=2.0)
    notes = forecast(step, compare(other, other)).notes
    assert any("judged a in other words" in note for note in notes)
    assert any("gave b the weight 1" in note for note in notes)


def test_two_runs_show_which_clauses_verdicts_differ(tmp_path):
    old = a_set(a=1, b=1, c=1)
    new = edit(old, "a", text="Break a.", opposite="Keep a.")
    many = {f"p{n}|q{n}": (2.0, -1.0, 0.5) for n in range(40)}
    turned = dict.fromkeys(many, (-2.0, -1.0, 0.5))
    one, _ = label(tmp_path, old, many)
    other, _ = label(tmp_path, new, turned, name="new")
    result = measure(one, other, compare(old, new))
    assert result.changed.value == 1.0
    assert result.clauses["a"].value == 1.0
    assert result.findings["a"].verdict == "differs"


def test_verdicts_that_come_and_go_are_no_reversal(tmp_path):
    old = a_set(a=1, b=1, c=1)
    new = edit(edit(old, "a", text="Keep to a."), "b", text="Say it in verse.")
    before, after = {}, {}
    for n in range(60):
        a = 2.0 if n % 2 else 0.0
        before[f"p{n}|q{n}"] = (2.0, -1.0, 0.5)
        after[f"p{n}|q{n}"] = (a, 0.0, 0.5)  # half of a's verdicts go, and all of b's
    one, _ = label(tmp_path, old, before)
    other, _ = label(tmp_path, new, after, name="new")
    difference = compare(old, new)
    result = measure(one, other, difference)
    assert result.decided == {"a": (30, 60), "b": (0, 60)}
    assert result.clauses["a"].value == 0 and "b" not in result.clauses
    assert result.findings["a"].verdict != "differs"
    log = as_markdown(write_changelog(difference, ("old", "new"), measured=result))
    assert (
        "verdict is reversed on 0.0" in log and "decide on 0 of 60 pairs, so nothing shows" in log
    )


def test_the_command_reads_a_runs_folder_and_counts_on_its_matrix(tmp_path, capsys):
    old = a_set(a=1, b=1, c=1)
    step, _ = label(tmp_path, old)
    record = {"variant": "full", "seed": 0, "steps": {"pairs": {"artifact": str(step.directory)}}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    new = tmp_path / "new.yaml"
    new.write_text(to_yaml(edit(old, "c", text="Say it in verse."), "test"))
    sets = [str(tmp_path / "run" / "set.yaml"), str(new)]
    assert main([*sets, "--run", str(tmp_path)]) == 1
    by_run = capsys.readouterr().out
    assert f"up to {2 * len(MARGINS)} calls" in " ".join(by_run.split())
    assert main([*sets, "--run", str(step.directory)]) == 1
    assert capsys.readouterr().out == by_run
    run = tmp_path / "runs" / "logs" / "2026-11-28_00-00-00-000000-abc123"
    run.mkdir(parents=True)
    (tmp_path / "run.json").rename(run / "run.json")
    for name in ("last", "abc123"):
        assert main([*sets, "--run", name, "--runs-dir", str(tmp_path / "runs")]) == 1
        assert capsys.readouterr().out == by_run
    assert main([*sets, "--run", str(tmp_path / "run")]) == 2
    assert "there is no run.json" in capsys.readouterr().err


def test_violations_are_paired_by_request_and_clauses_are_corrected_together(monkeypatch):
    old = a_set(a=1, b=1)
    before = {f"violates {name}": {f"r{n}": 1.0 for n in range(20)} for name in "ab"}
    after = {**before, "violates a": {f"r{n}": float(n >= 15) for n in range(20)}}
    by_variant = {"old": before, "new": after}
    monkeypatch.setattr(
        "stages.spec_diff.behaviour.job_results", lambda level, job, _: by_variant[job.variant]
    )
    jobs = [[Job(0, variant, 0)] for variant in by_variant]
    changes = behaviour(*jobs, compare(old, old))
    assert changes["a"].value == pytest.approx(-15 / 20)
    assert changes["b"].value == 0
    # McNemar's exact test: 15 changes, all in one direction; two clauses are compared
    assert changes["a"].p == pytest.approx(2 * 0.5**15)
    assert changes["a"].p_adjusted == pytest.approx(4 * 0.5**15)


def test_clauses_with_the_same_measure_are_corrected_once(monkeypatch):
    old = a_set(a=1, b=1, c=1)
    before = {f"violates {name}": {f"r{n}": 1.0 for n in range(20)} for name in "abc"}
    fewer = {f"r{n}": float(n >= 10) for n in range(20)}
    after = {**before, "violates a": fewer, "violates b": fewer}
    by_variant = {"old": before, "new": after}
    monkeypatch.setattr(
        "stages.spec_diff.behaviour.job_results", lambda level, job, _: by_variant[job.variant]
    )
    changes = behaviour(*([Job(0, variant, 0)] for variant in by_variant), compare(old, old))
    # a and b are one comparison, c is the other: two, not three
    assert changes["a"].p_adjusted == changes["b"].p_adjusted == pytest.approx(4 * 0.5**10)
    assert changes["c"].p_adjusted == 1
    new = edit(old, "a", text="Keep to a.")
    log = write_changelog(compare(old, new), ("old", "new"), effects=changes)
    assert "Untouched clauses whose violations changed: b: violations -50.0" in log.facts[-1]
    assert "c:" not in log.facts[-1] and log.entries[0].behaviour.startswith("violations -50.0")
    same = dict.fromkeys("abc", changes["c"])
    log = write_changelog(compare(old, new), ("old", "new"), effects=same)
    assert log.facts[-1] == "Violations of the 2 untouched clauses: no change is shown."
