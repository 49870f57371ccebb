"""Hook of mkdocs: the site holds the pages of the navigation, and the files that they link to."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
CODE = re.compile(r"```.*?```", re.DOTALL)


def on_config(config: Any) -> Any:
    config.mdx_configs["toc"]["slugify"] = slugify
    return config


def slugify(title: str, separator: str) -> str:
    """The anchor that forges, and tests/test_docs.py, give to a heading."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", separator)


def on_files(files: Files, config: Any) -> Files:
    """Every file under its path from the root of the repository, as its links expect it."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = sorted(path.relative_to(ROOT).as_posix() for path in linked_files())
    pages = [File(path, str(ROOT), config.site_dir, config.use_directory_urls) for path in paths]
    return Files([*theme, *pages])


def linked_files() -> set[Path]:
    """The pages of the repository, and all files that these link to."""
    rooms = ("constitutions", "requirements", "timings")
    waiting = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    waiting += [ROOT / room / "README.md" for room in rooms]
    reached: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in reached or not path.is_file():
            continue
        reached.add(path)
        if path.suffix == ".md":
            text = CODE.sub("", path.read_text())
            targets = re.findall(r"\]\(([^)\s#]+)", text)
            waiting += [(path.parent / target).resolve() for target in targets]
    return {path for path in reached if path.is_relative_to(ROOT)}
