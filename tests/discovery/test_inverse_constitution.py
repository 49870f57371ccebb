"""From what people chose to principles and back: systems.md sections 13 and 15 (ICAI)."""

import csv
import json
from pathlib import Path

import pytest

from stages.principles.constitution import load
from stages.runtime.rows import Judgement, Pair, Proposal
from tests.discovery.reader import reader
from tests.running import fake_model, run_steps

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "icai_synthetic"
needs_originals = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
PLANTED = {
    "orthogonal_adcbg.csv": {"a cat", "blue", "lemon"},
    "aligned_vqvtb.csv": {"Washington", "growth and perspective", "a willing assistant"},
}
"""What decides in each file; of the second: true facts, to the point, willing."""


def halves(path, folder, invert=False):
    """Even and odd rows as two files, perhaps with the other side preferred."""
    folder.mkdir(exist_ok=True)
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    swap = {"text_a": "text_b", "text_b": "text_a"}
    for row in rows if invert else ():
        row["preferred_text"] = swap[row["preferred_text"]]
    for name, part in (("some.csv", rows[::2]), ("others.csv", rows[1::2])):
        with (folder / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(part)
    return folder


def pipeline(folder, **choose):
    return {
        "judge": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "known_pairs": {"stage": "human_pairs", "source": str(folder / "some.csv")},
        "held_out_pairs": {"stage": "human_pairs", "source": str(folder / "others.csv")},
        "proposals": {
            "stage": "propose",
            "inputs": {"model": "judge", "pairs": "known_pairs"},
            "count": 5,
        },
        "candidates": {"stage": "cluster", "inputs": {"proposals": "proposals"}},
        "votes": {
            "stage": "judge_quality",
            "inputs": {"pairs": "known_pairs", "principles": "candidates", "judge": "judge"},
            "resamples": 200,
        },
        "chosen": {
            "stage": "choose_principles",
            "inputs": {"judgements": "votes", "principles": "candidates"},
            "unit": "pair",
            **choose,
        },
        "constitution": {"stage": "write_constitution", "inputs": {"chosen": "chosen"}},
        "reconstruction": {
            "stage": "judge_quality",
            "inputs": {"pairs": "held_out_pairs", "principles": "constitution", "judge": "judge"},
            "resamples": 200,
        },
        "export": {"stage": "export", "inputs": {"pairs": "known_pairs", "votes": "votes"}},
    }


@pytest.fixture(scope="module", params=sorted(PLANTED))
def original(request, tmp_path_factory):
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here")
    folder = halves(SHARED / request.param, tmp_path_factory.mktemp("icai") / "a")
    generator = reader()
    _, artifacts = run_steps(pipeline(folder), folder, generator)
    return request.param, artifacts, generator


def test_planted_principles_of_the_original_are_recovered(original):
    name, artifacts, _ = original
    texts = [row.text for row in artifacts["chosen"].rows(Proposal)]
    for planted in PLANTED[name]:
        assert any(
            text.endswith((f"mentions {planted}.", f"mention {planted}.")) for text in texts
        ), (planted, texts)
    assert not any("an article" in text for text in texts)  # in most texts of both sides


def test_wordings_of_one_principle_are_one_candidate(original):
    _, artifacts, _ = original
    rows = artifacts["candidates"].rows(Proposal)
    assert len(rows) < len(artifacts["proposals"].rows(Proposal))
    assert any(row.wordings and len(row.sources) > 1 for row in rows)


def test_held_out_choices_are_told_above_chance(original):
    _, artifacts, _ = original
    for name, known in (("reconstruction", "held_out_pairs"), ("votes", "known_pairs")):
        judged = {row.pair_id for row in artifacts[name].rows(Judgement)}
        assert judged == {row.id for row in artifacts[known].rows(Pair)}
    estimate = artifacts["reconstruction"].metrics["kappa"]["judge"]  # over pairs
    assert estimate["low"] > 0


def test_the_file_states_pairs_and_votes_and_is_a_constitution(original):
    _, artifacts, _ = original
    made = load(artifacts["constitution"].directory / "constitution.yaml")
    rows = artifacts["chosen"].rows(Proposal)
    assert [p.id for p in made.principles] == [row.id for row in rows]
    for principle, row in zip(made.principles, rows, strict=True):
        assert principle.source and row.sources[0] in principle.source
        assert f"{row.votes[0]} comparisons for it, {row.votes[1]} against it" in principle.source


def test_icai_reads_the_votes(original):
    _, artifacts, _ = original
    path = artifacts["export"].directory / "known_pairs.annotated_pairs.json"
    document = json.loads(path.read_text())
    texts = {entry.get("description") for entry in document["annotators"].values()}
    assert {row.text for row in artifacts["candidates"].rows(Proposal)} <= texts
    prefs = {
        vote["pref"] for pair in document["comparisons"] for vote in pair["annotations"].values()
    }
    assert prefs == {"a", "b", None}


@needs_originals
def test_inverted_labels_invert_the_votes(tmp_path):
    """The same principles are judged: what spoke for the choice now speaks against it."""
    votes, written = [], ""
    for invert in (False, True):
        folder = halves(SHARED / "orthogonal_adcbg.csv", tmp_path / str(invert), invert)
        steps = pipeline(folder)
        steps["written"] = {"stage": "write_constitution", "inputs": {"rows": "candidates"}}
        if invert:  # the candidates of the first run
            del steps["proposals"], steps["written"]
            steps["candidates"] = {
                "stage": "write_constitution",
                "constitution": {"name": str(written)},
            }
        _, artifacts = run_steps(steps, folder, reader())
        if not invert:
            written = artifacts["written"].directory / "constitution.yaml"
        votes.append(artifacts["chosen"].metrics["principles"])
    before, after = votes
    assert before.keys() == after.keys() and len(before) > 5
    for name, counts in before.items():
        inverted = after[name]
        assert (counts["agreeing"], counts["against"]) == (
            inverted["against"],
            inverted["agreeing"],
        )
        assert counts["silent"] == inverted["silent"]
