"""What the card reads of run folders of `beyond_uc`, in one file that comes with the package.

python -m experiments.report_card.keep_claims --folders=runs/spheres,runs/mnist
"""

from pathlib import Path

from absl import flags

from experiments.lab.command_line import tool
from experiments.lab.refusals import Refusal
from experiments.report_card import beyond

flags.DEFINE_string("folders", None, "run folders of beyond_uc, separated by commas")
flags.DEFINE_string("to", str(beyond.FILE), "the file that is written")


def main() -> None:
    """Writes the file and says what is in it.

    Raises:
      Refusal: no folder is named, or one cannot be read.
    """
    asked = flags.FLAGS
    if not asked.folders:
        raise Refusal(
            "--folders is missing; name run folders of beyond_uc, with commas between"
        )
    records = beyond.read(asked.folders.split(","))
    beyond.keep(records, Path(asked.to))
    count = sum(len(record.claims) for record in records)
    print(f"{asked.to}: {count} claims of {len(records)} run folders")


if __name__ == "__main__":
    tool(main)
