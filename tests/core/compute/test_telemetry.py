"""Telemetry says what it measured and what it could not; a field it cannot read is None."""

from __future__ import annotations

import os
from types import SimpleNamespace

from core.compute.telemetry import Telemetry, process_tree


class FakeNvml:
    """Two cards; the second has no power sensor. Card 0 runs this very process."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"Card"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=50)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(used=10, total=80)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        if handle == 1:
            raise self.NVMLError("not supported")
        return 300_000

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 60

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=os.getpid(), usedGpuMemory=7), SimpleNamespace(pid=1 << 22, usedGpuMemory=2)]


class NoDriver(FakeNvml):
    def nvmlInit(self) -> None:
        raise self.NVMLError("driver not loaded")


def test_every_card_is_sampled_and_a_missing_sensor_reads_none() -> None:
    first, second = Telemetry(FakeNvml()).sample([os.getpid()])
    assert (first.source, first.name, first.utilisation, first.power_w, first.temperature_c) == (
        "fake",
        "Card",
        0.5,
        300,
        60,
    )
    assert (first.own_pids, first.own_memory_bytes) == ((os.getpid(),), 7)
    assert (second.power_w, second.memory_total_bytes) == (None, 80)


def test_without_a_driver_the_machine_is_sampled_and_the_reason_told() -> None:
    (sample,) = Telemetry(NoDriver()).sample([os.getpid()])
    assert sample.source == "psutil"
    assert "driver not loaded" in sample.note
    assert (sample.power_w, sample.temperature_c) == (None, None)
    assert sample.own_memory_bytes is not None
    assert sample.own_memory_bytes > 1_000_000


def test_a_machine_without_a_driver_is_told_so_in_words_a_person_knows() -> None:
    class NoLibrary(NoDriver):
        class NVMLError_LibraryNotFound(NoDriver.NVMLError):
            """As pynvml raises it where there is no libnvidia-ml."""

        def nvmlInit(self) -> None:
            raise self.NVMLError_LibraryNotFound("NVML Shared Library Not Found")

    (sample,) = Telemetry(NoLibrary()).sample([os.getpid()])
    assert sample.note == "no GPU: no NVIDIA driver found"


def test_a_process_that_is_gone_is_no_part_of_a_tree() -> None:
    assert process_tree([1 << 22]) == set()
    assert os.getpid() in process_tree([os.getpid()])
