"""How commands end that signals end. Apart, as this is all that is imported before Ctrl-C is taken."""

INTERRUPTED = 130
INTERRUPTED_MESSAGE = "interrupted: nothing was written."
READER_GONE = 141
"""As of programs that SIGPIPE ends."""
