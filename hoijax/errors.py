"""The one exception users see: a sentence that says what is wrong, where, and the remedy."""


class UserError(Exception):
    """Bad input, refused before work starts. The command line prints the message and exits with 2."""
