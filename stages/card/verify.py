"""Checks of a published folder by itself: its files, and whether its record fits together.

In: the folder. Out: a `Check` for each thing that was compared. Nothing of the run is needed: the
hashes say that files are the recorded ones, the fingerprints that steps follow from each other, and
what the record derives from its steps is derived once more. An author who changes the steps too is
found only with the run, see `against_run`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.card.checks import (
    Check,
    as_plain,
    check_faults,
    compare,
    differs,
    not_checked,
)
from stages.card.effects import effects_of, judge_of
from stages.card.facts import describe_data, other_words, steps_of, texts_of, used_texts
from stages.card.folder import is_published
from stages.card.readme import readme_hash, render_readme
from stages.card.record import (
    CONSTITUTION,
    DIGEST,
    README,
    RECORD,
    digest_of,
    list_published,
    steps_by_name,
)
from stages.guards.errors import UserError
from stages.guards.files import read_text
from stages.guards.spellings import MASK
from stages.principles.select import Selection
from stages.runtime.artifacts import MODEL
from stages.runtime.manifest import canonical, fingerprint
from stages.runtime.models import find_model
from stages.runtime.typed_config import parse_config


def check_folder(
    folder: Path,
    record: Mapping[str, Any],
) -> Iterator[Check]:
    """Yield the checks of a folder by itself."""
    yield _check_digest(record)
    yield _check_files(folder, record)
    yield _check_weights(folder, record)
    yield _check_constitution(folder, record)
    yield from _check_chain(record)
    yield from _check_derived(record)
    yield _check_readme(folder, record)


def _check_digest(record: Mapping[str, Any]) -> Check:
    faults = []
    if record[DIGEST] != digest_of(record):
        faults.append("it was changed after it was written")
    return check_faults(RECORD, faults)


def _check_files(folder: Path, record: Mapping[str, Any]) -> Check:
    recorded = record["files"]
    here = list_published(folder)
    faults = []
    for name in dict.fromkeys([*recorded, *here]):
        if name not in here:
            faults.append(f"{name} is missing")
        elif name not in recorded:
            faults.append(f"{name} is not of the record")
        elif here[name] != recorded[name]:
            faults.append(f"{name} has another content")
    return check_faults("files of the folder", faults, f"{len(recorded)} files")


def _check_weights(folder: Path, record: Mapping[str, Any]) -> Check:
    """The model is the one that the recorded step saved."""
    policy = record["policy"]
    what = f"model of step {policy['step']}"
    entry = steps_by_name(record).get(policy["step"])
    if entry is None:
        return differs(what, "the step is not recorded")
    here = list_published(folder)
    faults = []
    for name, facts in entry["files"].items():
        file = name.removeprefix(f"{MODEL}/")
        if file == name or "/" in file or not is_published(file):
            continue
        if here.get(file) != facts:
            faults.append(f"{file} is not what the step saved")
    try:
        if find_model(str(folder)).content != policy["content"]:
            faults.append("its content is another one")
    except UserError as error:
        faults.append(error.what)
    return check_faults(what, faults, "hashes of the step's files")


def _check_constitution(folder: Path, record: Mapping[str, Any]) -> Check:
    what = "constitution"
    facts = record["constitution"]
    file = folder / CONSTITUTION
    if not facts["sha256"]:
        return not_checked(what, "the run names none")
    if not file.is_file():
        return differs(what, f"{CONSTITUTION} is missing")
    faults = []
    if list_published(folder)[CONSTITUTION]["sha256"] != facts["sha256"]:
        faults.append("the file has another hash")
    try:
        values = {**record["run"]["config"]["constitution"], "name": str(file)}
        texts = texts_of(parse_config(Selection, values, what))
    except (UserError, KeyError) as error:
        return check_faults(what, [*faults, getattr(error, "what", str(error))])
    faults += compare(facts["principles"], texts)
    used = used_texts([one["payload"] for one in record["steps"]])
    faults += [f"{name} has other words than the steps read" for name in other_words(texts, used)]
    stated = len(used.keys() & texts.keys())
    return check_faults(what, faults, f"{stated} of {len(texts)} principles are stated by steps")


def _check_chain(record: Mapping[str, Any]) -> Iterator[Check]:
    """Each fingerprint is that of its payload, and each payload names those of its inputs."""
    steps = steps_by_name(record)
    faults = []
    masked = []
    for name, entry in steps.items():
        payload = entry["payload"]
        if MASK in canonical(payload):
            masked.append(name)
        elif fingerprint(payload) != entry["fingerprint"]:
            faults.append(f"{name} has another fingerprint")
        recorded = payload.get("inputs", {})
        for key, source in entry["inputs"].items():
            if source not in steps:
                faults.append(f"{name} reads {source}, which is not recorded")
            elif recorded.get(key) != steps[source]["fingerprint"]:
                faults.append(f"{name} was made of another {source}")
    yield check_faults("fingerprints", faults, f"{len(steps)} steps, each from its inputs")
    if masked:
        why = f"they hold a secret that is masked: {', '.join(masked)}"
        yield not_checked("fingerprints of some steps", why)


def _check_derived(record: Mapping[str, Any]) -> Iterator[Check]:
    """What the record says outside of its steps follows from them and from the config."""
    steps = steps_by_name(record)
    policy = record["policy"]["step"]
    effects = as_plain(effects_of(steps, policy))
    count = f"{len(effects)} numbers"
    yield check_faults("effects", compare(record["effects"], effects), count)
    yield check_faults("judge's examination", compare(record["judge"], judge_of(steps)))
    seeds = {entry["payload"].get("seed") for entry in steps.values()}
    odd = seeds - {record["run"]["seed"], None}
    yield check_faults("seed", [f"steps were made with seed {seed}" for seed in odd])
    what = "data sources and licences"
    try:
        recorded = steps_of(record["run"]["config"])
    except UserError as error:
        yield not_checked(what, f"this version does not read the config: {error.what}")
        return
    finished = {name: step for name, step in recorded.items() if name in steps}
    here = as_plain(describe_data(finished))
    yield check_faults(what, compare(record["data"], here), f"{len(here)} sources")


def _check_readme(folder: Path, record: Mapping[str, Any]) -> Check:
    if record["readme"] != readme_hash():
        return not_checked(README, "another version of Credo wrote it; its hash is checked above")
    if not (folder / README).is_file():
        return differs(README, "it is missing")
    same = read_text(folder / README) == render_readme(record)
    return check_faults(README, [] if same else ["it does not say what the record says"])
