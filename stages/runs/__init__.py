"""Runs: what was run, what it found, what it costs on the disk, and how far it is.

`__main__` is the command. `records` reads the folders of runs, `headline` the number that a run is
known by, `disk` the sizes, `prune` what no run needs, `comparison` two runs side by side, and
`next_command` what to try after a run.
"""
