"""Why launched training processes died, read off their log."""

import pytest

from stages.runtime.pipeline.launch import first_error

CAUSE = "ValueError: loss is odd"


@pytest.mark.parametrize("prefix", ["", "[rank1]: "])
def test_the_first_traceback_is_the_cause(tmp_path, prefix):
    log = tmp_path / "log.txt"
    lines = [
        "/usr/lib/x.py:3: FutureWarning: soon",
        f"{prefix}Traceback (most recent call last):",
        f'{prefix}  File "x.py", line 3, in f',
        f"{prefix}{CAUSE}",
        "[rank0]: RuntimeError: Connection closed by peer",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
    ]
    log.write_text("\n".join(lines) + "\n")
    assert first_error(log) == f": {CAUSE}"


def test_a_killed_process_leaves_no_traceback(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: x\n")
    assert first_error(log) == ""
