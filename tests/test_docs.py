"""README and docs say what is there: commands compose, links lead to files, paths exist."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages import STAGES
from stages.pretrained import hardware  # noqa: F401  registers resolvers
from stages.runtime.pipeline.steps import join_sections, read_steps

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / room / "README.md" for room in ("constitutions", "requirements", "timings")),
]
# What was run is on record in docs/results.md, and its commands stay as they were.
CURRENT = [page for page in PAGES if page.name not in ("results.md", "CHANGELOG.md")]
SHIPPED = ("stages", "tests", "conf", "docs", "constitutions", "timings", "requirements")
HUB = ["model=hub", "model.path=owner/name"]
FILES = [
    "data=files",
    *(f"data.{name}.source=x.csv" for name in ("red_team", "helpful", "held_out")),
]
BASES: list[list[str]] = [[], HUB, [*HUB, *FILES], ["pipeline=rlhf"]]
CODE = re.compile(r"```.*?```", re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def inline_code(text: str) -> list[str]:
    """The texts between backticks in prose, each on one line."""
    spans = re.findall(r"`([^`]+)`", CODE.sub("", text))
    return [" ".join(span.split()) for span in spans]


def commands(text: str, start: str) -> list[str]:
    """The commands in blocks of code and in prose, without those that have a `<placeholder>`."""
    lines = [line for block in CODE.findall(text) for line in block.splitlines()]
    starting = [line for line in (*lines, *inline_code(text)) if line.startswith(start)]
    return [line for line in starting if "<" not in line]


def overrides_of(command: str) -> list[str]:
    """The overrides of a `python run.py` command; of a sweep, those of its first job."""
    arguments = shlex.split(command, comments=True)[2:]
    overrides = [argument for argument in arguments if argument != "-m"]
    if "-m" not in arguments:
        return overrides
    return [text if "[" in text else text.partition(",")[0] for text in overrides]


def commands_of_all_pages() -> list[str]:
    texts = [page.read_text() for page in CURRENT]
    return sorted({command for text in texts for command in commands(text, "python run.py")})


@pytest.mark.slow
def test_commands_compose():
    """Every `python run.py ...` names groups, files, keys, steps and stages that exist.

    Hydra's own options, such as `--cfg job`, are not overrides.
    """
    texts = [command for command in commands_of_all_pages() if " --" not in command]
    checked = {tuple(without_slurm(overrides_of(command))) for command in texts}
    assert len(checked) > 30
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for overrides in sorted(checked):
            config = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
            read_steps(join_sections(config["pipeline"]), STAGES)


def test_the_pipeline_of_the_page_about_reward_hacks_is_whole(tmp_path):
    """The file as it stands on the page, in a folder of the reader's own."""
    page = (ROOT / "docs" / "how-to" / "watch-for-a-reward-hack.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "watched.yaml").write_text(text)
    overrides = ["pipeline=watched", f"hydra.searchpath=[{tmp_path}]"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", overrides), resolve=True)
    steps = {step.name: step for step in read_steps(join_sections(config["pipeline"]), STAGES)}
    policy = steps["policy"]
    assert policy.stage == "ppo" and policy.inputs["gold"] == "gold_reward"
    assert policy.config.stop.gold == "gold"
    terms = policy.config.reward_terms
    assert terms["gold"].weight == 0 < terms["people"].weight


def without_slurm(overrides: list[str]) -> list[str]:
    """Drop the launcher of Slurm where its plugin is not installed (requirements/README.md)."""
    uses_slurm = any(override.startswith("hydra/launcher=submitit") for override in overrides)
    if not uses_slurm or importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher"):
        return overrides
    return [text for text in overrides if not text.startswith(("hydra/launcher", "hydra.launcher"))]


def test_overrides_in_prose_change_what_is_there():
    """Every `key=value` on the page about models of one's own, with the embedded world, the Hub's
    data or files of one's own: a key of the config, or a file of a group.
    """
    spans = inline_code((ROOT / "docs" / "your-own-model.md").read_text())
    written = [re.match(r"([a-z_.]+)=([^<]+)$", part) for span in spans for part in parts(span)]
    overrides = {match.groups() for match in written if match}
    assert len(overrides) > 20
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        configs = [OmegaConf.to_container(compose("config", base)) for base in BASES]
    for key, value in sorted(overrides):
        group = (ROOT / "conf" / key).is_dir()
        assert (ROOT / "conf" / key / f"{value}.yaml").is_file() or not group, (key, value)
        assert group or any(holds(config, key.split(".")) for config in configs), key


def parts(span: str) -> list[str]:
    return [span] if "{" in span else span.split()


def holds(config: Any, path: list[str]) -> bool:
    for name in path:
        if not isinstance(config, dict) or name not in config:
            return False
        config = config[name]
    return True


@pytest.mark.parametrize("page", CURRENT, ids=name_of)
def test_modules_that_are_run_exist(page):
    text = page.read_text()
    for command in commands(text, "python -m stages.") + commands(text, "python -m tests."):
        module = command.split()[2]
        assert importlib.util.find_spec(module) is not None, module
        options = re.findall(r" (--[a-z-]+)", command.partition("#")[0])
        assert [option for option in options if option.strip("-") not in texts_in(module)] == []


def texts_in(module: str) -> set[str]:
    """The quoted words in a module, or in all of a package: an option's name is one of them."""
    path = ROOT / module.replace(".", "/")
    files = path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    return {word for file in files for word in re.findall(r'"(?:--)?([\w-]+)"', file.read_text())}


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path):
    """Links, anchors, and pages that the navigation forgets."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed; `make docs` installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    for page in PAGES:
        name = page.relative_to(ROOT).with_suffix(".html")
        name = name.with_name(name.name.replace("README.html", "index.html"))
        assert (tmp_path / name).is_file(), name


@pytest.mark.parametrize("page", CURRENT, ids=name_of)
def test_paths_exist(page):
    """Every path in prose, such as `stages/runtime/rows.py`, but for patterns."""
    paths = [text for text in inline_code(page.read_text()) if re.fullmatch(r"[\w./-]+", text)]
    ours = [text for text in paths if text.partition("/")[0] in SHIPPED and "/" in text]
    assert [text for text in ours if not (ROOT / text).exists() and "my-set" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = CODE.sub("", page.read_text())
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    for target in targets:
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors_of(linked), target


def anchors_of(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_map_of_the_readme_shows_folders_that_exist():
    text = (ROOT / "README.md").read_text().partition("## Where things are")[2]
    parents: list[str] = []
    folders = []
    for line in CODE.findall(text)[0].splitlines():
        entry = re.match(r"( *)([\w/.]+)/ ", line)
        if entry is None:
            continue
        depth = len(entry[1]) // 2
        parents = [*parents[:depth], entry[2]]
        folders.append("/".join(parents))
    assert len(folders) > 20
    assert {folder for folder in folders if not (ROOT / folder).is_dir()} <= {"runs"}
