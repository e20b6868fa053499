"""Writes edge/doctor/golden.json: what the zoo's models say of the shipped cells that they are sure of.

Run it after a model of the zoo was exchanged. Also says by how much the answers differ between XNNPACK's kernels
and the runtime's plain ones, which is what `edge.doctor.runtime.TOLERANCE` has to allow for.
"""

import json

from ai_edge_litert.interpreter import Interpreter, OpResolverType

import edge.inference.interpreter as adapter
from edge.doctor.runtime import GOLDEN
from edge.doctor.trial import Trial, trial
from edge.inference.bundle import Bundle, zoo

SURE = 0.95


def plain(bundle: Bundle) -> Trial:
    """The same without delegates."""
    engine = adapter._engine
    adapter._engine = lambda: (
        lambda **given: Interpreter(
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, **given
        )
    )
    try:
        return trial(bundle)
    finally:
        adapter._engine = engine


golden: dict[str, dict[str, tuple[str, float]]] = {}
for folder in zoo():
    bundle = Bundle.load(folder)
    fast, slow = trial(bundle), plain(bundle)
    golden[bundle.sha256] = {
        file: (said, confidence) for file, _, said, confidence in fast.cells if confidence >= SURE
    }
    differences = [abs(a[3] - b[3]) for a, b in zip(fast.cells, slow.cells, strict=True)]
    other = sum(a[2] != b[2] for a, b in zip(fast.cells, slow.cells, strict=True))
    print(
        f"{bundle.name}: {sum(label == said for _, label, said, _ in fast.cells)} of {len(fast.cells)} as labelled, "
        f"{len(golden[bundle.sha256])} kept; XNNPACK {fast.invoke_ms:.2f} ms, plain {slow.invoke_ms:.2f} ms; "
        f"confidences differ by {max(differences):.4f} at most, {other} classes differ"
    )
GOLDEN.write_text(json.dumps(golden, indent=0) + "\n", "utf-8")
