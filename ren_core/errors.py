"""The errors that users meet; each message says what was found, what was expected, what to do."""


class ConfigError(ValueError):
    """A setting is outside its range or does not fit another one."""


class ShapeError(ValueError):
    """A tensor or image has the wrong shape, dtype or value range."""


class DataError(RuntimeError):
    """A file, video, annotation or weight file is missing, damaged or not what it should be."""


class StaleStageError(RuntimeError):
    """A stage directory was written by another configuration than the one that reads it."""


class RunStoppedError(RuntimeError):
    """A fault that the other items of a run would meet too: a full disk, no memory, a bug."""
