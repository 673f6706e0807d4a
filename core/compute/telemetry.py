"""What the hardware does: every GPU through NVML, or the machine's CPU and memory where there is none.

Each sample says where it comes from; a field that cannot be read is None, never 0 and never invented.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
import psutil

Source = Literal["nvml", "psutil", "fake"]


class GpuSample(msgspec.Struct, frozen=True, kw_only=True):
    """One device at one moment."""

    source: Source
    index: int
    name: str
    utilisation: float | None = None
    """Share of the last interval in which the device was busy, in [0, 1]."""
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    own_pids: tuple[int, ...] = ()
    """Processes of the watched trees on this device."""
    own_memory_bytes: int | None = None
    """GPU: what those processes hold of it. CPU: their resident memory."""
    others: int | None = None
    """Compute processes of others on this device."""
    throttled: tuple[str, ...] = ()
    """What holds its clocks down now: power, heat, power brake, another GPU of its sync group."""
    ecc_errors: int | None = None
    """Uncorrected memory errors since the driver was loaded: results after one are not to be trusted."""
    note: str = ""
    """Why it is not a GPU, where it is not; what is wrong with it, where something is."""


THROTTLES = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}
"""NVML's clock event reasons, by bit; idle and applications' clocks are no faults."""


class Telemetry:
    """A sampler. `sample()` costs a few milliseconds; call it once a second.

    `nvml` is the pynvml module or a stand-in with its functions, for tests; a stand-in's samples are labelled "fake".
    """

    def __init__(self, nvml: Any = None) -> None:
        self._fake = nvml is not None
        """A stand-in module, or a library whose driver calls itself fake."""
        self._nvml, self.reason = (nvml, "") if nvml is not None else _load_nvml()
        if self._nvml is not None:
            self.reason = self._initialise(self._nvml)
        if self._nvml is None:
            psutil.cpu_percent(interval=None)  # the first call only sets the mark it measures from

    @property
    def source(self) -> Source:
        if self._nvml is None:
            return "psutil"
        return "fake" if self._fake else "nvml"

    def sample(self, roots: Iterable[int] = ()) -> list[GpuSample]:
        """One sample a GPU, or one of the machine. `roots`: pids whose process trees count as ours."""
        own = process_tree(roots)
        if self._nvml is None:
            return [self._machine(own)]
        return [self._gpu(self._nvml, index, own) for index in range(self._nvml.nvmlDeviceGetCount())]

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml = None

    def _initialise(self, nvml: Any) -> str:
        try:
            nvml.nvmlInit()
            version = nvml.nvmlSystemGetDriverVersion() if hasattr(nvml, "nvmlSystemGetDriverVersion") else ""
            self._fake = self._fake or "fake" in (version.decode() if isinstance(version, bytes) else version)
            if nvml.nvmlDeviceGetCount() > 0:
                return ""
            reason = "NVML finds no GPU"
        except nvml.NVMLError as error:
            missing = isinstance(error, getattr(nvml, "NVMLError_LibraryNotFound", ()))
            reason = "no GPU: no NVIDIA driver found" if missing else f"no GPU: {error}"
        self._nvml = None
        return reason

    def _gpu(self, nvml: Any, index: int, own: set[int]) -> GpuSample:
        def ask(read: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return read(*arguments)
            except nvml.NVMLError:  # many cards lack a sensor or forbid reading it
                return None

        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        rates = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        power = ask(nvml.nvmlDeviceGetPowerUsage, handle)
        name = ask(nvml.nvmlDeviceGetName, handle)
        processes = ask(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        mine = [p for p in processes or () if p.pid in own]
        throttled, ecc = self._health(nvml, handle, ask)
        held = [p.usedGpuMemory for p in mine if p.usedGpuMemory is not None]
        return GpuSample(
            source=self.source, index=index,
            name=name.decode() if isinstance(name, bytes) else name or f"GPU {index}",
            utilisation=None if rates is None else rates.gpu / 100,
            memory_used_bytes=None if memory is None else memory.used,
            memory_total_bytes=None if memory is None else memory.total,
            power_w=None if power is None else power / 1000,
            temperature_c=ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            own_pids=tuple(p.pid for p in mine),
            own_memory_bytes=None if processes is None or (mine and not held) else sum(held),
            others=None if processes is None else len(processes) - len(mine), throttled=throttled, ecc_errors=ecc,
            note=_trouble(throttled, ecc),
        )  # fmt: skip

    def _health(self, nvml: Any, handle: Any, ask: Callable[..., Any]) -> tuple[tuple[str, ...], int | None]:
        """What holds the clocks down, and uncorrected memory errors; nothing where the card or a stand-in cannot say."""
        reasons = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None) or getattr(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None)  # fmt: skip
        bits = ask(reasons, handle) if reasons else None
        ecc = getattr(nvml, "nvmlDeviceGetTotalEccErrors", None)
        errors = ask(ecc, handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC) if ecc else None
        return tuple(name for bit, name in THROTTLES.items() if (bits or 0) & bit), errors

    def _machine(self, own: set[int]) -> GpuSample:
        memory = psutil.virtual_memory()
        cores = psutil.cpu_count() or 1
        return GpuSample(
            source="psutil", index=0, name=f"CPU ({cores} cores)", utilisation=psutil.cpu_percent(interval=None) / 100,
            memory_used_bytes=memory.total - memory.available, memory_total_bytes=memory.total,
            own_pids=tuple(sorted(own)), own_memory_bytes=_resident(own) if own else None, note=self.reason,
        )  # fmt: skip


def _trouble(throttled: tuple[str, ...], ecc: int | None) -> str:
    parts = [f"throttled: {', '.join(throttled)}"] if throttled else []
    return "; ".join([*parts, *([f"{ecc} uncorrected memory errors"] if ecc else [])])


def process_tree(roots: Iterable[int]) -> set[int]:
    """`roots` that live, with all their descendants."""
    found: set[int] = set()
    for root in roots:
        try:
            process = psutil.Process(root)
            found |= _listed(root) or {root, *(child.pid for child in process.children(recursive=True))}
        except psutil.Error:
            continue
    return found


def _listed(root: int) -> set[int]:
    """A tree as Linux lists it, thread by thread; empty where the kernel does not (CONFIG_PROC_CHILDREN).

    psutil reads every process of the machine for it, once a second: on a busy host more than all else that watching costs.
    """
    if not os.path.exists(f"/proc/{root}/task/{root}/children"):
        return set()
    found, waiting = {root}, [root]
    while waiting:
        pid = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue  # it has just ended
        for thread in threads:
            try:
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as listed:
                    children = {int(word) for word in listed.read().split()} - found
            except OSError:
                continue
            found |= children
            waiting += children
    return found


def _resident(pids: set[int]) -> int:
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.Error:
            continue
    return total


def _load_nvml() -> tuple[Any, str]:
    try:
        import pynvml  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    return pynvml, ""
