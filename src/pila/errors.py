"""The error that a user's own input causes."""


class InputError(ValueError):
    """Wrong input: the message names the value, the bound and the remedy on one line.

    The command line prints it without a traceback and exits with code 2.
    """
