"""What ``ghostpoint diagnose`` does: read a history, diagnose it, draw it."""

from __future__ import annotations

from pathlib import Path

from ghostpoint.errors import InputError

__all__ = ["diagnose_file"]


def diagnose_file(
    path: Path,
    *,
    figure: Path | None = None,
    network: int | None = None,
    loss: str | None = None,
    chance_loss: float | None = None,
    chance_accuracy: float | None = None,
) -> str:
    """The diagnosis of the history in the file ``path``, as text: a table for a stack, all there is for one network.

    Parameters
    ----------
    figure : path, optional
        Where to draw the annotated loss curves; the suffix says the format.
    network : int, optional
        Which network of a stack to look at; all by default.
    loss : str, optional
        The name of the loss in the file, where several could be it.
    chance_loss, chance_accuracy : float, optional
        As for ``ghostpoint.diagnose``.

    Raises
    ------
    ValueError
        For whatever cannot be read, or a network or a format that there is not.
    """
    from ghostpoint.checks import integer
    from ghostpoint.diagnosis import diagnose, read_history

    history = read_history(path, loss=loss)
    diagnosis = diagnose(history, chance_loss=chance_loss, chance_accuracy=chance_accuracy)
    if network is not None:
        if not 0 <= integer("network", network) < len(diagnosis):
            raise InputError(f"network must be from 0 to {len(diagnosis) - 1}, got {network}")
        diagnosis = diagnosis[network]
    if figure is not None:
        from ghostpoint.figures import diagnosis as picture

        drawn = picture.draw(diagnosis.to_dataset())
        formats = drawn.canvas.get_supported_filetypes()
        if figure.suffix.lstrip(".").lower() not in formats:
            raise InputError(
                f"figure must end in one of {', '.join('.' + name for name in formats)}; got {figure.name}"
            )
        figure.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(figure, dpi=150)
    return str(diagnosis)
