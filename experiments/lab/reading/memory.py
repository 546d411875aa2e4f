"""How much memory may still be taken: asked before a file's header is believed."""

from pathlib import Path

from experiments.lab.reading.flaws import Flaw

try:
    import resource
except ImportError:  # a system without limits of processes
    resource = None

# (limit, usage, what of the usage can be given back) of a container: control groups 2 and 1.
_GROUPS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)  # fmt: skip
_UNKNOWN = 2**34  # 16 GiB, where the system does not say


def _numbers(path, unit=1):
    """{name: number} of a file of lines `name number`; a lone number is called ''."""
    try:
        lines = [line.split() for line in Path(path).read_text().splitlines()]
    except OSError:
        return {}
    named = [("", *words) if len(words) == 1 else words for words in lines if words]
    return {w[0]: int(w[1]) * unit for w in named if w[1].isdecimal()}


def available() -> int:
    """Bytes that can be taken: what the machine, its container and the process leave."""
    machine = _numbers("/proc/meminfo", 1024).get("MemAvailable:", _UNKNOWN)
    left = [machine]
    for limit, used, kinds in _GROUPS:
        group = Path("/sys/fs/cgroup")
        most, now = _numbers(group / limit).get(""), _numbers(group / used).get("")
        if most is not None and now is not None:
            left.append(most - now + _numbers(group / kinds).get("inactive_file", 0))
    if resource is not None:
        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            left.append(most - _numbers("/proc/self/status", 1024).get("VmSize:", 0))
    return max(0, min(left))


def check(what: str, needed: int) -> None:
    """Raises `Flaw` if more bytes are needed than are available."""
    if needed > (there := available()):
        raise Flaw(f"{what} would take {needed} bytes, of which {there} are available")
