"""The one exception that reaches a user, and what it must say."""


class HarnetError(ValueError):
    """A mistake that a user can mend: bad input, a wrong option, a damaged file.

    The message is one line that names the file or option, the value found and what to do.
    The command line prints it without a traceback and exits with code 1. A mistake of ours is
    an ``assert`` or any other exception, and keeps its traceback.
    """


class Unreachable(HarnetError):
    """Storage did not answer for minutes. Nobody's mistake: the same command may well succeed later.

    Whoever restarts programs tells it from other errors by this class.
    """
