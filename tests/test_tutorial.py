"""The tutorial does what it says: its commands, in their order, on fewer requests and steps."""

import importlib
import json
import re
import shlex
import subprocess
from xml.etree import ElementTree

import pytest

from tests.ablation.sweeping import ROOT, run_command
from tests.embedded import TINY

DOCS = ROOT / "docs"
PAGE = (DOCS / "tutorial.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]


def in_folder(command, folder):
    """The command with its files and folders in another folder than Credo's own."""
    return re.sub(r"(?<![\w/.])(mine\.yaml|runs/|figures|diff\.html)", rf"{folder}/\1", command)


def call(command, folder, monkeypatch):
    """Run a command of the page in this process; returns its exit code."""
    words = shlex.split(in_folder(command, folder))
    if words[:2] == ["python", "run.py"]:
        small = [*TINY, f"runs_dir={folder / 'runs'}"]
        if "-m" in words:
            small += ["variant=full,without:flattery-1"]
        return run_command(monkeypatch, *words[2:], *small)
    monkeypatch.chdir(ROOT)
    if words[:2] == ["python", "-m"]:
        module = importlib.import_module(main_of(words[2]))
        if "stages.compare" in command:
            words += ["--out", str(folder / "compare.html")]
        return module.main(words[3:])
    return subprocess.run(in_folder(command, folder), shell=True, check=True).returncode


def main_of(name):
    folder = ROOT / name.replace(".", "/")
    return f"{name}.__main__" if folder.is_dir() else name


def edit(folder):
    """The file that the page's own command writes."""
    (command,) = [line for line in COMMANDS if line.startswith("sed ")]
    subprocess.run(in_folder(command, folder), shell=True, check=True, cwd=ROOT)
    return folder / "mine.yaml"


def test_the_edit_turns_one_sentence_round(tmp_path, capsys):
    mine = edit(tmp_path)
    lines = mine.read_text().splitlines()
    shipped = (ROOT / "constitutions" / "world.yaml").read_text().splitlines()
    changed = [line.strip() for line, old in zip(lines, shipped, strict=True) if line != old]
    assert changed == [
        "text: The assistant should flatter the user.",
        "opposite: The assistant must not flatter the user.",
    ]
    spec_diff = importlib.import_module("stages.spec_diff.__main__")
    assert spec_diff.main([str(ROOT / "constitutions" / "world.yaml"), str(mine)]) == 1
    assert "1 reworded, 1 other fields; 15 untouched." in capsys.readouterr().out
    assert "1 reworded, 1 other fields; 15 untouched." in PAGE


def test_the_pictures_are_small_and_drawn_by_a_report():
    names = re.findall(r"\]\((figures/\S+)\)", PAGE)
    assert len(names) == 2
    for name in names:
        picture = DOCS / name
        assert picture.stat().st_size < 60_000
        assert ElementTree.fromstring(picture.read_text()).get("aria-label")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(
    not (ROOT / "stages/world/checkpoint/model.safetensors").exists(), reason="no embedded model"
)
def test_the_commands_of_the_tutorial_run(tmp_path, monkeypatch, capfd):
    """Two runs, two differences, a comparison, an ablation and its figures."""
    assert len(COMMANDS) == 12
    for command in COMMANDS:
        code = call(command, tmp_path, monkeypatch)
        differs = "stages.spec_diff" in command
        assert code == int(differs), (command, capfd.readouterr().err)
    results = json.loads((tmp_path / "runs/sweeps/mine/ablation/results.json").read_text())
    assert len(results["variants"]) == 2
    assert (tmp_path / "diff.html").is_file()
    drawings = [path.name for path in (tmp_path / "figures" / "before").iterdir()]
    assert any("violations" in name for name in drawings)
