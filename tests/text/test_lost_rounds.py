"""A round of revision that fails ends its chain, and the finished rounds before it stay."""

import json
from collections import Counter
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.runtime.generation import CallFailed, TooLong
from stages.runtime.rows import Pair, Revision
from stages.runtime.store import derive_seed
from stages.training.offline.sft import read_examples
from tests.running import CutsOff, Seeded, run_steps, text_pipeline

CUT = "cut off at max_tokens"


def revised(tmp_path, generator, prompts=20, rounds=4, **options):
    steps = text_pipeline(tmp_path, prompts=prompts, rounds=rounds, **options)
    names = ("base", "requests", "answers", "revisions")
    steps = {name: steps[name] for name in names}
    steps["pairs"] = {"stage": "revision_pairs", "inputs": {"revisions": "revisions"}}
    _, done = run_steps(steps, tmp_path, generator)
    return done


def is_critique(messages):
    return messages[-1]["content"].startswith("Critique")


def seed_of(response_id, number, kind):
    """The seed of a round's critique or revision, in a run with seed 0."""
    return derive_seed(derive_seed(0, response_id, "revise", number), kind)


@pytest.mark.parametrize("kind", ["critique", "revision"])
@pytest.mark.parametrize("context", ["collapse", "append"])
def test_the_rounds_before_a_cut_off_text_stay(tmp_path, kind, context):
    """A quarter of all rounds is cut off: what stays is counted by hand."""

    def is_cut(seed):
        return seed % 4 == 0

    def cuts(messages, seed):
        if len(messages) == 1 or is_critique(messages) != (kind == "critique"):
            return "stop"
        return "length" if is_cut(seed) else "stop"

    done = revised(tmp_path, CutsOff(cuts=cuts), context=context)
    finished, lost = {}, []
    for answer in done["answers"].rows():
        cut = [n for n in range(1, 5) if is_cut(seed_of(answer.id, n, kind))]
        finished[answer.id] = cut[0] - 1 if cut else 4
        lost += [f"{answer.id}-r{number}" for number in cut[:1]]
    rows = done["revisions"].rows(Revision)
    assert Counter(row.response_id for row in rows) == {k: n for k, n in finished.items() if n}
    assert len(rows) > 4 * sum(n == 4 for n in finished.values()) > 0
    dropped = done["revisions"].dropped()
    assert {d.id for d in dropped} == set(lost)
    assert {d.reason for d in dropped} == {f"{kind} {CUT}"}
    metrics = done["revisions"].metrics
    assert metrics["lost_rounds"] == {f"{kind} {CUT}": len(lost)}
    assert metrics["rounds_after_lost"] == 4 * 40 - len(rows) - len(lost) > 0
    last = {row.response_id: row for row in rows if row.round == finished[row.response_id]}
    assert {row.id: row.chosen for row in done["pairs"].rows(Pair)} == {
        name: row.response for name, row in last.items()
    }
    examples, _ = read_examples({"revisions": done["revisions"]}, "last")
    assert {e["id"] for e in examples} == {row.id for row in last.values()}


@pytest.mark.parametrize(
    "failure, reason",
    [
        (TooLong(900, 800), "longer than the model's context"),
        (CallFailed("the server refused"), "the server refused"),
    ],
)
def test_any_failure_of_a_later_round_keeps_the_earlier_ones(tmp_path, failure, reason):
    def fail(messages):
        if len(messages) > 5 and "number 1" in messages[0]["content"]:
            raise failure

    done = revised(tmp_path, Seeded(failure=fail), prompts=3, rounds=3, context="append")
    rounds = Counter(row.round for row in done["revisions"].rows(Revision))
    assert rounds == {1: 6, 2: 4, 3: 4}
    assert {(d.id[-2:], d.reason) for d in done["revisions"].dropped()} == {("r2", reason)}


@pytest.mark.parametrize("lasting", [0, 1])
def test_principles_too_long_for_the_model_say_what_to_leave_out(tmp_path, lasting):
    """Where every row is lost, and where most are."""

    def fail(messages):
        if len(messages) > 1 and f"number {lasting - 1}" not in messages[0]["content"]:
            raise TooLong(900, 800)

    file = tmp_path / "long.yaml"
    example = "examples: [{good: ['Of course.']}]"
    file.write_text(f"name: m\nprinciples:\n- {{id: a, text: 'It is kind.', {example}}}\n")
    advice = "take the examples out: 'constitution.without=[examples]', or"
    options = {"prompts": 3, "rounds": 1, "constitution": {"name": str(file)}}
    if lasting:
        warnings = revised(tmp_path, Seeded(failure=fail), **options)["revisions"].manifest.warnings
        assert "4 x longer than the model's context" in warnings[0] and advice in warnings[1]
        return
    with pytest.raises(UserError, match="every row was dropped") as caught:
        revised(tmp_path, Seeded(failure=fail), **options)
    assert advice in str(caught.value)
    options["constitution"]["without"] = ["examples"]
    with pytest.raises(UserError, match="change what the reasons name"):
        revised(tmp_path, Seeded(failure=fail), **options)


def test_empty_texts_end_a_chain_with_their_reason(tmp_path):
    class Silent(CutsOff):
        async def complete(self, messages, sampling, seed):
            completion = await super().complete(messages, sampling, seed)
            silent = "number 1" in messages[0]["content"] and len(messages) == 5
            return completion if not silent else type(completion)(" ", "stop", 1, 0)

    done = revised(tmp_path, Silent(), prompts=2, rounds=2)
    assert {(d.id[-2:], d.reason) for d in done["revisions"].dropped()} == {
        ("r1", "empty revision")
    }
    assert len(done["revisions"].rows()) == 4


def test_a_kept_text_ends_as_it_ended_and_a_new_one_is_finished(tmp_path):
    """With `only_faulty` a row may repeat the original, which may be cut off."""

    def text(messages):
        if "Critique" not in messages[-1]["content"]:
            return "text"
        return "No fault." if "number 1" in messages[0]["content"] else "Fault: x"

    cuts = CutsOff(text=text, cuts=lambda m, seed: "length" if len(m) == 1 else "stop")

    class Plain(CutsOff):
        async def complete(self, messages, sampling, seed):
            answer = await super(Seeded, self).complete(messages, sampling, seed)
            return type(answer)(answer.text, self.cuts(messages, seed), 1, 1)

    done = revised(tmp_path, Plain(text=text, cuts=cuts.cuts), 2, 2, only_faulty=True)
    for row in done["revisions"].rows(Revision):
        fine = "number 1" in row.prompt[0]["content"]
        assert row.finish_reason == ("length" if fine else "stop")
        assert row.original_finish_reason == "length"


def test_no_fault_is_offered_only_where_a_good_answer_is_kept(tmp_path):
    for name, only_faulty in (("kept", True), ("always", False)):
        generator = Seeded()
        done = revised(tmp_path / name, generator, 2, 1, only_faulty=only_faulty)
        requests = {row.critique_request for row in done["revisions"].rows(Revision)}
        assert all(text.startswith("Critique your last response by this") for text in requests)
        assert {"No fault" in text for text in requests} == {only_faulty}
    mine = tmp_path / "mine.jinja"
    mine.write_text('{{ principle.text }} Begin with "No fault."')
    done = revised(tmp_path / "mine", Seeded(), 2, 1, critique_template=str(mine))
    assert all("No fault" in row.critique_request for row in done["revisions"].rows(Revision))


def test_a_principles_own_critique_stands_alone_without_the_offer(tmp_path):
    lines = ["name: own", "principles:", "  - id: p0", "    text: Be kind.", "    critique: Look."]
    tmp_path.joinpath("set.yaml").write_text("\n".join(lines))
    done = revised(tmp_path, Seeded(), 2, 1)
    assert {row.critique_request for row in done["revisions"].rows(Revision)} == {"Look."}


def test_announcements_are_cut_counted_and_shown(tmp_path):
    texts = [
        "Here is a revised version:\n\nNo, and I will say why.",
        "**Revised Response:**\n\nNo, and I will say why.",
        "Revised response: No, and I will say why.",
        "Überarbeitete Antwort:\n\nNo, and I will say why.",
        "Improved drainage is reached in three steps:\n\n1. Dig.",
        "Revised response:",
    ]

    class Announcing(Seeded):
        async def complete(self, messages, sampling, seed):
            answer = await super().complete(messages, sampling, seed)
            number = int(messages[0]["content"].split()[-1])
            return type(answer)(texts[number], "stop", 1, 1) if len(messages) == 5 else answer

    done = revised(tmp_path, Announcing(), prompts=len(texts), rounds=1)
    rows = done["revisions"].rows(Revision)
    assert Counter(row.response for row in rows) == {"No, and I will say why.": 8, texts[4]: 2}
    assert done["revisions"].manifest.dropped == {"empty revision": 2}
    announcements = done["revisions"].metrics["announcements"]
    assert announcements["cut"] == 8 and len(announcements["examples"]) == 3
    first = announcements["examples"][0]
    assert first["id"] == rows[0].id and first["cut"] == "Here is a revised version:"
    assert first["rest"] == "No, and I will say why."
    plain = revised(tmp_path / "off", Announcing(), len(texts), 1, strip_preamble=False)
    assert plain["revisions"].metrics["announcements"] == {"cut": 0, "examples": []}
    assert {row.response for row in plain["revisions"].rows(Revision)} == set(texts)


def test_the_manifest_holds_the_examples_as_plain_data(tmp_path):
    done = revised(tmp_path, Seeded(), 1, 1)
    manifest = Path(done["revisions"].directory / "manifest.json").read_text()
    assert json.loads(manifest)["metrics"]["announcements"]["cut"] == 0
