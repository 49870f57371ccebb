"""What is published: folders that others can load, cards that say what they are made of, and no
upload without `push`.
"""

import pytest
import yaml

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact
from tests.running import run_steps, text_pipeline


def steps(root, **options):
    steps = text_pipeline(root, prompts=4)
    steps["published"] = {
        "stage": "publish",
        "inputs": {"model": "base", "judgements": "judgements"},
        "repository": "me/kind",
        "license": "apache-2.0",
        **options,
    }
    return steps


def test_cards_state_the_principles_the_steps_and_where_things_came_from(tmp_path):
    _, done = run_steps(steps(tmp_path, notes="Handle with care."), tmp_path)
    root = done["published"].directory / "published"
    card = (root / "judgements" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "apache-2.0" and front["configs"][0]["data_files"] == "rows.parquet"
    assert "The response keeps rule number 3." in card and "Handle with care." in card
    assert "| judgements | judge |" in card and "`requests`: " in card
    assert all(f"`{column}`" in card for column in ("response_a", "margin_ab", "principle"))
    assert f"{len(done['judgements'].rows())} rows of the kind `Judgement`" in card
    model = (root / "model" / "README.md").read_text()
    assert yaml.safe_load(model.split("---")[1])["library_name"] == "transformers"
    assert (root / "model" / "model.safetensors").read_bytes().endswith(
        b"weights"
    ) and "No evaluation was given" in model
    assert Artifact("judgements", root / "judgements").directory.joinpath("rows.parquet").exists()
    assert done["published"].metrics == {
        "pushed": False,
        "repositories": ["me/kind", "me/kind-judgements"],
    }


def test_only_push_uploads_and_a_refusal_is_one_message(tmp_path, monkeypatch):
    import huggingface_hub

    uploads = []

    class Hub:
        def create_repo(self, name, **options):
            uploads.append((name, options["repo_type"], options["private"]))

        def upload_folder(self, **options):
            assert (options["folder_path"] / "README.md").exists()
            uploads.append(options["repo_id"])

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    run_steps(steps(tmp_path / "a"), tmp_path / "a")
    assert not uploads
    run_steps(
        steps(tmp_path / "a", push=True), tmp_path / "a"
    )  # after a look at the cards, which is no upload
    assert uploads == [
        ("me/kind", "model", True),
        "me/kind",
        ("me/kind-judgements", "dataset", True),
        "me/kind-judgements",
    ]

    def refuse(self, name, **options):
        raise OSError("Token is required\nand more")

    monkeypatch.setattr(Hub, "create_repo", refuse)
    with pytest.raises(UserError, match=r"(?s)the Hub refuses: Token is required.*HF_TOKEN"):
        run_steps(steps(tmp_path / "c", push=True), tmp_path / "c")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"repository": "no spaces please"}, "write owner/name"),
        ({"inputs": {}}, "nothing to publish"),
        ({"inputs": {"base": "base"}}, "holds no rows"),
    ],
)
def test_mistakes(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        run_steps(steps(tmp_path, **change), tmp_path)
