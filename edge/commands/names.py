"""What samples and people may be called."""

from __future__ import annotations

import re
import unicodedata

from edge.errors import SampleError

LONGEST_ID = LONGEST_OPERATOR = 64

# What a barcode, a file name, an address and a spreadsheet all take as it is, and no two of which look alike
# while they differ: so no accents, no other alphabets, no spaces.
_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def check_id(sample: str, *, device: str) -> None:
    """See that a sample may be called so.

    Raises:
        SampleError: it may not, and why.
    """
    if len(sample) > LONGEST_ID or not _ID.fullmatch(sample):
        raise SampleError(
            f"{sample[:LONGEST_ID]!r} cannot be a sample's ID: it has 1 to {LONGEST_ID} letters (A to Z, a to z), "
            "digits, dots, hyphens and underscores, and begins and ends with a letter or digit"
        )
    if re.fullmatch(re.escape(device) + r"-\d{4}-\d\d-\d\d", sample, re.IGNORECASE):
        raise SampleError(f"{sample} names what this device counts on a day without a sample; choose another")


def check_operator(name: str) -> str:
    """See that somebody may be called so; any alphabet will do.

    Returns:
        The name without spaces around it, in Unicode's composed form.

    Raises:
        SampleError: it is too long, or holds what cannot be printed.
    """
    name = unicodedata.normalize("NFC", name.strip())
    if len(name) > LONGEST_OPERATOR or not name.isprintable():
        raise SampleError(
            f"an operator's name has at most {LONGEST_OPERATOR} characters, and none that cannot be printed"
        )
    return name
