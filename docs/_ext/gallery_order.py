"""The order of the gallery: from the toy model to networks of one's own."""

from __future__ import annotations

ORDER = (
    "toy_model.py",
    "one_network_learns_to_wait.py",
    "collapse_and_remedy.py",
    "rank_two_portrait.py",
    "own_task.py",
    "own_field.py",
    "diagnose_a_log.py",
    "own_pytorch_module.py",
    "match_to_sample.py",
    "transformer.py",
)


class ForReaders:
    """Key by which sphinx-gallery sorts scripts; those that are not in ``ORDER`` come last."""

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self, script: str) -> int:
        """The place of a script."""
        return ORDER.index(script) if script in ORDER else len(ORDER)
