"""`--verify`: a certificate recounted from its file and the data alone, by plain sums in numpy.

Nothing of what made the certificate is used but what is a matter of record: the standard normals of
draws, the initial weights and subspaces that are made from the seed, and the decoder. All else each kind
of certificate (`experiments.certify.kinds`) computes again, in float64 and another way.
"""

from collections.abc import Mapping
from typing import Any

from experiments.certify import certificate_file
from experiments.certify.kinds import KINDS
from experiments.lab import report, settings
from experiments.lab.refusals import Refusal


def verified(typed: Mapping[str, Any]) -> tuple[str, bool]:
    """A line on the certificate in a file, and whether it is what the file and the data say.

    Args:
      typed: what was typed: `verify`, the file, and what its kind needs: `data`, or `problem` and
        `data_dir`.

    Raises:
      Refusal: the file was changed, is of another kind, or the data are others.
    """
    path, kinds = typed["verify"], {kind.Certificate: kind for kind in KINDS}
    one, tensors = certificate_file.read(path, tuple(kinds))
    kind = kinds[type(one)]
    for name, value in typed.items():
        if name not in ("verify", *kind.flags):
            raise Refusal(
                f"--{name}={settings.shown(value)}: does not go with --verify; leave it out"
            )
    kind.check(path, tensors, one)
    stored = kind.stored(path, tensors, one)
    differs = kind.differs(stored, kind.data(typed, one))
    if differs:
        return f"{path}: refuted: {'; '.join(differs)}", False
    taken = "; ".join(kind.taken(one))
    settings_tried = "1 setting" if one.tried == 1 else f"{one.tried} settings"
    return (
        f"{path}: verified: {kind.speaks_of} errs on at most {report.at_most(min(one.value, 1.0))} of new "
        f"examples drawn like these, with confidence {report.confidence(one.delta)} ({one.bound}; "
        f"{kind.counted(one)}, {settings_tried} tried and paid for)"
        + (f"; taken as said: {taken}" if taken else "")
    ), True
