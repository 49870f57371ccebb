"""Runs: what was run, what it found, what it costs on the disk, and how far it is.

`__main__` is the command. `records` reads the folders of runs, `headline` the number that a run is
known by, `disk` the sizes, `prune` what no run needs, `comparison` two runs side by side,
`next_command` what to try after a run, and `loaded` is for notebooks:

    from stages.runs import load_run
    run = load_run("last")
    run.frame("evaluation")  # rows as pandas
    run.effects()            # what changed from policy to policy
"""

from stages.runs.loaded import LoadedRun, frame_of_runs, load_run

__all__ = ["LoadedRun", "frame_of_runs", "load_run"]
