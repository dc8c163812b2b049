"""Fingerprint of the machine a latency belongs to: stable across runs, different if timings would differ."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autoopt.objectives.target import Target
from autoopt.strategies.system.nvml import Gpu

_CPU_INFO = Path("/proc/cpuinfo")
_INSTRUCTION_SETS = frozenset(
    {"avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16"}
    | {"asimd", "asimddp", "i8mm", "bf16", "sve"}
)
"""Flags by which torch and ONNX Runtime choose their kernels."""


def fingerprint(target: Target) -> dict[str, Any]:
    """Return the device and software that a timing depends on; no host name, no load, nothing that varies over time."""
    cpu = _cpu()
    return {
        "architecture": platform.machine(),
        "cpu": cpu.get("model name") or cpu.get("CPU part") or platform.processor(),
        "cores": os.cpu_count(),
        "instruction_sets": sorted(_INSTRUCTION_SETS & set(cpu.get("flags", cpu.get("Features", "")).split())),
        "device": _device_name(target),
        **_gpu_limits(target),
        "torch": version("torch"),
        "transformers": version("transformers"),
    }


def fingerprint_id(target: Target) -> str:
    """Return twelve hexadecimal digits of the fingerprint's SHA-256."""
    canonical = json.dumps(fingerprint(target), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _cpu() -> dict[str, str]:
    """Return the first processor's entries of ``/proc/cpuinfo``; empty if the file does not exist."""
    if not _CPU_INFO.is_file():
        return {}
    first, _, _ = _CPU_INFO.read_text(encoding="utf-8").partition("\n\n")
    entries = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in entries}


def _gpu_limits(target: Target) -> dict[str, dict[str, int]]:
    """Return a GPU's maximum clocks and power limit, which its owner may have changed."""
    gpu = Gpu.of(target.device)
    return {} if gpu is None else {"gpu_limits": gpu.limits()}


def _device_name(target: Target) -> str:
    if not target.is_cuda:
        return target.device
    import torch

    return torch.cuda.get_device_name(target.device)
