"""Respond, critique and revise: the invariants of systems.md section 15, item 1."""

from collections import Counter

from scipy.stats import chisquare

from stages.runtime.rows import Response, Revision
from tests.running import Seeded, run_steps, text_pipeline, write_constitution
from tests.scripted import ScriptedGenerator


def revising(folder, **options):
    """The pipeline up to the revisions: what tests here look at needs no judge."""
    steps = text_pipeline(folder, **options)
    return {name: steps[name] for name in ("base", "requests", "answers", "revisions")}


def test_a_chain_has_k_revisions_and_collapses(tmp_path):
    generator = Seeded()
    _, done = run_steps(revising(tmp_path, prompts=30, rounds=4), tmp_path, generator)
    chains = {}
    for row in done["revisions"].rows(Revision):
        chains.setdefault(row.response_id, []).append(row)
    assert all([row.round for row in chain] == [1, 2, 3, 4] for chain in chains.values())
    for chain in chains.values():
        assert chain[0].previous == chain[0].original
        assert [row.previous for row in chain[1:]] == [row.response for row in chain[:-1]]
    for messages, _, _ in generator.completed:
        if (
            len(messages) >= 3
        ):  # a later round sees the request and the latest text, and no older critique
            assert len(messages) in (3, 5)
            assert messages[0]["content"].startswith("request number")


def test_append_keeps_the_conversation(tmp_path):
    generator = Seeded()
    run_steps(revising(tmp_path, prompts=2, rounds=2, context="append"), tmp_path, generator)
    assert {len(messages) for messages, _, _ in generator.completed} == {1, 3, 5, 7, 9}


def test_principles_are_drawn_uniformly_and_independently(tmp_path):
    _, done = run_steps(revising(tmp_path, prompts=200, rounds=2), tmp_path)
    rows = done["revisions"].rows(Revision)
    counts = Counter(row.principle for row in rows)
    assert len(counts) == 16 and chisquare(list(counts.values())).pvalue > 1e-4
    by_parent = {}
    for row in rows:
        by_parent.setdefault(row.response_id, []).append(row.principle)
    same = sum(a == b for a, b in by_parent.values())
    assert same < 0.15 * len(by_parent), "the second round's draw does not repeat the first's"


def test_only_faulty_spares_what_is_fine(tmp_path):
    def text(messages):
        fine = (
            "No fault. All is well."
            if "rule number 1." in messages[-1]["content"]
            else "Fault: something."
        )
        return fine if "begin with" in messages[-1]["content"] else "text"

    generator = Seeded(text=text)
    _, done = run_steps(revising(tmp_path, only_faulty=True), tmp_path, generator)
    rows = done["revisions"].rows(Revision)
    fine = [row for row in rows if row.principle == "p1"]
    assert fine and all(
        not row.faulty and row.response == row.previous and not row.revision_request for row in fine
    )
    assert all(row.faulty for row in rows if row.principle != "p1")


def test_a_critique_that_finds_nothing_is_noted_even_where_the_text_is_rewritten(tmp_path):
    generator = Seeded(
        text=lambda messages: "No fault. Good." if "Critique" in messages[-1]["content"] else "text"
    )
    _, done = run_steps(revising(tmp_path, prompts=3), tmp_path, generator)
    assert all(not row.faulty and row.revision_request for row in done["revisions"].rows(Revision))


def test_roles_take_turns_whatever_the_critique_finds(tmp_path):
    def text(messages):
        return (
            "No fault."
            if "begin with" in messages[-1]["content"] and len(str(messages)) % 2
            else "Fault: x"
        )

    generator = Seeded(text=text)
    run_steps(revising(tmp_path, rounds=3, context="append", only_faulty=True), tmp_path, generator)
    for messages, _, _ in generator.completed:
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2) + [
            "user"
        ]


def test_direct_revision_asks_once(tmp_path):
    generator = Seeded()
    _, done = run_steps(
        revising(tmp_path, prompts=5, rounds=1, critique=False), tmp_path, generator
    )
    rows = done["revisions"].rows(Revision)
    assert all(
        row.critique == "" and "follows this principle" in row.revision_request for row in rows
    )
    assert len(generator.completed) == 10 + 10


def test_preambles_go_and_empty_texts_are_dropped_with_a_reason(tmp_path):
    def text(messages):
        if "Rewrite" in messages[-1]["content"]:
            return "Here is the revised response:\n\nBetter."
        return (
            ""
            if "Critique" in messages[-1]["content"] and "number 3" in messages[0]["content"]
            else "fine"
        )

    class Plain(Seeded):
        async def complete(self, messages, sampling, seed):
            return await super(Seeded, self).complete(messages, sampling, seed)

    _, done = run_steps(revising(tmp_path, prompts=5, rounds=1), tmp_path, Plain(text=text))
    assert {row.response for row in done["revisions"].rows(Revision)} == {"Better."}
    assert done["revisions"].manifest.dropped == {"empty critique": 2}


def test_hostile_principles_stay_literal(tmp_path):
    hostile = ["{{ ''.__class__ }}", "{% raw %}", "{{ 7 * 7 }} {# x #}"]
    write_constitution(
        tmp_path / "set.yaml", 3, **{f"p{i}": text for i, text in enumerate(hostile)}
    )
    generator = Seeded()
    run_steps(text_pipeline(tmp_path, prompts=20), tmp_path, generator)
    asked = " ".join(m[-1]["content"] for m, _, _ in generator.completed) + " ".join(
        m[-1]["content"] for m, _ in generator.chosen
    )
    assert all(text in asked for text in hostile)


def test_context_of_principles_is_not_trained_on(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    steps = {name: steps[name] for name in ("base", "requests", "answers")}
    steps["answers"] |= {
        "context": "principles",
        "constitution": {"name": str(tmp_path / "set.yaml"), "only": ["p1", "p2"]},
    }
    generator = Seeded()
    _, done = run_steps(steps, tmp_path, generator)
    assert all(
        m[0]["role"] == "system" and "rule number 2" in m[0]["content"]
        for m, _, _ in generator.completed
    )
    rows = done["answers"].rows(Response)
    assert all(
        row.context == ["p1", "p2"] and [m["role"] for m in row.prompt] == ["user"] for row in rows
    )


def test_thoughts_before_a_critique_or_a_revision_are_no_part_of_them(tmp_path):
    def think(messages):
        return f"<think>about {len(messages)} turns</think>\n\nwords {len(messages)}"

    steps = text_pipeline(tmp_path, prompts=1, rounds=1)
    steps = {name: steps[name] for name in ("base", "requests", "answers", "revisions")}
    generator = ScriptedGenerator(text=think)
    _, done = run_steps(steps, tmp_path, generator)
    row = done["revisions"].rows(Revision)[0]
    assert (row.critique, row.response, row.thoughts) == ("words 3", "words 5", "about 5 turns")
    read = [message["content"] for messages, _, _ in generator.completed for message in messages]
    assert not any("<think>" in text for text in read)
