"""Errors that the user can mend: one line saying what was expected, what came and what to do."""


class UserError(ValueError):
    """A mistake of the user's: the command line prints it as one line and exits with 2."""


class ConfigError(UserError):
    """A configuration that does not fit: unknown key, wrong type, impossible value."""


class DataError(UserError):
    """Audio, a manifest or a split that can't be used as asked."""


class Interrupted(Exception):
    """A run that was asked to stop and did, after a checkpoint: the command line exits with 75."""
