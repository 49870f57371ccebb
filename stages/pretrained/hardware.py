"""What this machine can do, for a config: how many GPUs, bfloat16, vLLM beside a training.

Config files ask with resolvers of OmegaConf, such as `${machine:}`; importing this module registers
them. Nothing heavy is imported, because every plan asks.
"""

import importlib.util
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

DEVICES = "nvidia[0-9]*"
"""The files of Nvidia's GPUs under /dev; a container sees its own only."""
PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "4090": 165e12,
}
"""Dense bf16 FLOPs a second by the vendor's data sheets; the first that a card's name contains."""


def find_peak(name: str) -> float | None:
    """Return the bf16 FLOPs a second of a card, or None for one that is not in the table."""
    return next((peak for part, peak in PEAKS.items() if part.lower() in name.lower()), None)


def count_gpus(devices: Path = Path("/dev")) -> int:
    """Return the number of GPUs that a process may use, as far as files and environment show."""
    found = len(list(devices.glob(DEVICES)))
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not found:
        return found
    names = [name for name in chosen.split(",") if name.strip() not in ("", "-1")]
    return len(names)


def machine() -> str:
    """Return the name of the file in conf/machine/ that fits."""
    return ("cpu", "one_gpu", "several")[min(2, count_gpus())]


def count_processes() -> int:
    """Return how many processes share a training: one for each GPU, and at least two."""
    return max(2, count_gpus())


@cache
def has_fast_bfloat16() -> bool:
    """Return whether this CPU multiplies in bfloat16; an unknown processor is assumed to."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    return "avx2" not in flags or "avx512_bf16" in flags or "amx_bf16" in flags


def has_bfloat16() -> bool:
    """Return whether trainings here are faster in bfloat16: on a GPU, or a CPU that has it."""
    return count_gpus() > 0 or has_fast_bfloat16()


def cpu_dtype() -> str:
    """Return the fastest type of weights for this CPU, by torch's name."""
    return "bfloat16" if has_fast_bfloat16() else "float32"


def can_roll_out_with_vllm() -> bool:
    """Return whether vLLM can write the rollouts of an online training: on a GPU only."""
    return count_gpus() > 0 and importlib.util.find_spec("vllm") is not None


def at_once(total: int, each: int, processes: int) -> int:
    """Return how many of a batch's texts all processes take at once.

    Args:
        total: texts of a batch.
        each: texts that fit one process.
        processes: which share the batch evenly.
    """
    fitting = range(1, min(total, each * processes) + 1)
    sizes = [size for size in fitting if total % size == 0 and size % processes == 0]
    return max(sizes, default=each * processes)


def in_turns(total: int, together: int) -> int:
    """Return in how many turns a batch is taken, `together` texts at a time."""
    return max(1, total // together)


RESOLVERS: dict[str, Callable[..., Any]] = {
    "machine": machine,
    "gpus": count_gpus,
    "processes": count_processes,
    "bfloat16_here": has_bfloat16,
    "fast_bfloat16": has_fast_bfloat16,
    "cpu_dtype": cpu_dtype,
    "vllm_rollouts": can_roll_out_with_vllm,
    "at_once": at_once,
    "in_turns": in_turns,
}
for name, function in RESOLVERS.items():
    OmegaConf.register_new_resolver(name, function, replace=True)
