"""The exceptions that are shown to users, and what their messages must say."""


def one_line(text: str) -> str:
    """The text with control characters and bytes that are not text escaped: a file's name may contain any."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class HarnetError(ValueError):
    """An error that the user can fix: bad input, a wrong option, a damaged file.

    The message is one line that names the file or option, the value found and what to do.
    The command line prints it without a traceback and exits with code 1. A bug in harnet is
    an ``assert`` or any other exception, and keeps its traceback.
    """


class Unreachable(HarnetError):
    """Storage did not respond for minutes; a transient failure, so the same command may succeed later.

    This class lets the job supervisor distinguish retryable errors from all others.
    """
