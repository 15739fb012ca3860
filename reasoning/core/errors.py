"""The one exception for bad input, so that users always get one clear sentence instead of a traceback."""


class InputError(Exception):
    """Raised when something the user gave is wrong.

    The message says what was wrong, where (file:line, stage, tensor name, shape), and what to do. The command line
    prints it after ``error:`` and exits with status 2; everything already written stays as it was.
    """
