"""Every error that leukoscope raises on purpose.

    LeukoscopeError                 something a person can act on; its text is one sentence, fit to show
    ├── ConfigError                 the configuration says something it must not say
    ├── InputError                  an image, folder, archive or address cannot be read
    │   └── InputTooLarge           refused before it was decoded or unpacked
    ├── BundleError                 a model bundle is missing, altered or contradicts its manifest
    ├── SourceError                 a source of frames cannot be opened or has failed
    │   └── SourceUnusable          it will not work by trying again: software or configuration must be changed
    ├── StoreError                  the database on the device cannot be used
    │   ├── StoreUnavailable        not now: the disk is full, read-only or fails; the same may succeed later
    │   └── StoreDamaged            its file is damaged; the daemon sets it aside when it next starts
    ├── SampleError                 a sample cannot be started or finished as asked
    ├── BrokerError                 the MQTT broker refuses us or cannot be reached at all
    ├── DataError                   a training or evaluation data set is not what was expected
    ├── ConversionError             a model cannot be converted, or missed its gate
    └── MissingExtra                an optional part is not installed; the text names the `pip install`

The command line turns a `LeukoscopeError` into one line and an exit status; anything else is a bug
and keeps its traceback.
"""


class LeukoscopeError(Exception):
    """Base of all errors that a person can act on. `str(error)` is one sentence, fit to show."""


class ConfigError(LeukoscopeError):
    """The configuration file is missing, malformed, or holds an unknown key or an illegal value."""


class InputError(LeukoscopeError):
    """An image, folder, archive or address cannot be read. The text names it and says why."""


class InputTooLarge(InputError):
    """The input announces more pixels or bytes than the limits allow, and was not decoded."""


class BundleError(LeukoscopeError):
    """A model bundle is missing, altered, or its model contradicts its manifest."""


class SourceError(LeukoscopeError):
    """A source of frames cannot be opened, or stopped delivering."""


class SourceUnusable(SourceError):
    """A source of frames cannot work as it is: trying again is useless, and the text says what to change."""


class StoreError(LeukoscopeError):
    """The device's database cannot be opened, read or written."""


class StoreUnavailable(StoreError):
    """The disk does not take or give anything at the moment. Nothing was changed; the same may succeed later."""


class StoreDamaged(StoreError):
    """The database's file is damaged. The daemon keeps it aside when it next starts, and begins another."""


class SampleError(LeukoscopeError):
    """A sample cannot be started, finished or found as asked."""


class BrokerError(LeukoscopeError):
    """The MQTT broker's address or credentials are wrong, or it refused the session."""


class DataError(LeukoscopeError):
    """A data set for training, calibration or evaluation is missing or malformed."""


class ConversionError(LeukoscopeError):
    """A model cannot be converted, or the converted model missed the gate against its original."""


class MissingExtra(LeukoscopeError):
    """An optional dependency is not installed.

    Args:
        command: what was asked for, as the user wrote it (``leukoscope train``).
        extra: the extra that brings it (``convert``).
    """

    def __init__(self, command: str, extra: str) -> None:
        super().__init__(
            f"{command} needs an optional part; in the source's folder: pip install -e '.[{extra}]'"
        )
