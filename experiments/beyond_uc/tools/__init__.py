"""The tools: one file each, its contract in `experiments.beyond_uc.tools.tool`.

To add one: a file, a line here. `--plugin` brings more by a dict `TOOLS`.
"""

from experiments.beyond_uc.tools.derandomization import Derandomization
from experiments.beyond_uc.tools.disagreement import Disagreement
from experiments.beyond_uc.tools.privacy import Privacy
from experiments.beyond_uc.tools.ratt import Ratt
from experiments.beyond_uc.tools.stability import Stability
from experiments.beyond_uc.tools.supersample import Supersample
from experiments.beyond_uc.tools.surrogate import Surrogate
from experiments.beyond_uc.tools.tool import Tool

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Stability(),
        Privacy(),
        Disagreement(),
        Ratt(),
        Derandomization(),
        Supersample(),
        Surrogate(),
    )
}

__all__ = ["TOOLS", "Tool"]
