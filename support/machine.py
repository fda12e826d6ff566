"""The machine that something was measured on."""

import platform
from functools import lru_cache

import psutil
from cpuinfo import get_cpu_info
from pydantic import BaseModel, ConfigDict


class Machine(BaseModel):
    """Processor, memory and software of a machine."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    processor: str
    cores: int
    """Cores that the process could use."""
    memory_bytes: int
    system: str
    python: str

    @property
    def hardware(self) -> str:
        """Processor, cores and memory, in words."""
        return f"{self.processor}, {self.cores} cores, {self.memory_bytes / 2**30:.0f} GiB"


def available_cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    return sorted(psutil.Process().cpu_affinity())


@lru_cache(maxsize=1)
def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        processor=get_cpu_info().get("brand_raw") or platform.processor() or platform.machine(),
        cores=len(available_cores()),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
    )
