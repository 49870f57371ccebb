"""A run to be killed: `python -m tests.runtime.killed_run FOLDER`. Every call that reaches the
generator is logged.
"""

import os
import sys
from pathlib import Path

from tests.running import Seeded, run_steps, text_pipeline

IN_FLIGHT = 32


class Logged(Seeded):
    """Writes one line per call before answering, unbuffered, so that a kill loses none."""

    log: int = -1

    async def _pretend(self, messages):
        os.write(self.log, b".")
        await super()._pretend(messages)


def main(folder: Path) -> None:
    generator = Logged(delay=0.002)
    generator.log = os.open(folder / "calls.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    run_steps(text_pipeline(folder, prompts=60), folder, generator, concurrency=IN_FLIGHT)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
