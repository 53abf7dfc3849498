"""The error that a wrong input gets."""


class InputError(ValueError):
    """What was given is wrong: an argument, a file, a folder. The message names it, what it was and
    what is valid.

    It is a ``ValueError`` like any other for who calls this library. The ``ghostpoint`` command
    shows it as one line; every other exception is a fault of the program, and is shown as such.
    """
