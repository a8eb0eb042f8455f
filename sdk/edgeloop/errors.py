"""The errors that edgeloop raises on purpose.

    EdgeloopError
    ├── InputError (also ValueError)       what came from outside is wrong; nothing was changed
    │   ├── ArtifactError                  an artifact file can't be used
    │   │   ├── NotTfliteError             the file isn't a TFLite model at all
    │   │   ├── TruncatedError             it was cut off
    │   │   ├── ForeignZipError            it carries a ZIP that edgeloop didn't write
    │   │   ├── NoManifestError            a plain .tflite: valid, but nothing is known of it
    │   │   ├── ModelDamagedError          the model's bytes don't match the manifest's SHA-256
    │   │   ├── ManifestDamagedError       the manifest's own bytes are damaged or don't validate
    │   │   ├── SignatureError             missing, or not made by a key that is trusted
    │   │   ├── OlderVersionError          older than what is running (a rollback needs a new version)
    │   │   ├── ExpiredError               past the manifest's expiry
    │   │   └── GoldenMismatchError        loads, but answers its own golden input wrongly
    │   ├── ConfigError                    a configuration file or option is wrong
    │   ├── DataError                      a data set can't be used
    │   ├── ModelError                     a model can't be loaded or isn't supported
    │   └── MessageError                   a message doesn't validate
    ├── GateError                          measured, and it doesn't hold (the command line exits with 1)
    ├── MissingExtraError                  a part needs an extra that isn't installed
    ├── StorageError                       the device's disk is full or fails; nothing was changed
    ├── BrokerError                        the broker can't be reached, or refused us
    └── PlaceError                         a device or an emulator can't be reached, or couldn't do a job

The command line turns `GateError` into exit code 1 and every other one into exit code 2, each as one line.
A message says what was wrong, where, and what to do.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "BrokerError",
    "ConfigError",
    "DataError",
    "EdgeloopError",
    "ExpiredError",
    "ForeignZipError",
    "GateError",
    "GoldenMismatchError",
    "InputError",
    "ManifestDamagedError",
    "MessageError",
    "MissingExtraError",
    "ModelDamagedError",
    "ModelError",
    "NoManifestError",
    "NotTfliteError",
    "OlderVersionError",
    "PlaceError",
    "SignatureError",
    "StorageError",
    "TruncatedError",
]


class EdgeloopError(Exception):
    """The base of all errors that edgeloop raises on purpose."""


class InputError(EdgeloopError, ValueError):
    """What came from outside is wrong; nothing was changed."""


class ArtifactError(InputError):
    """An artifact file can't be used."""


class NotTfliteError(ArtifactError):
    """The file isn't a TFLite model at all."""


class TruncatedError(ArtifactError):
    """The file was cut off."""


class ForeignZipError(ArtifactError):
    """The file carries a ZIP that edgeloop didn't write."""


class NoManifestError(ArtifactError):
    """A plain `.tflite`: valid, but it carries no manifest."""


class ModelDamagedError(ArtifactError):
    """The model's bytes don't match the SHA-256 in the manifest."""


class ManifestDamagedError(ArtifactError):
    """The manifest's own bytes are damaged, or don't validate."""


class SignatureError(ArtifactError):
    """The signature is missing, or wasn't made by a key that is trusted."""


class OlderVersionError(ArtifactError):
    """The artifact is older than the one that must be replaced."""


class ExpiredError(ArtifactError):
    """The artifact is past the expiry that its manifest states."""


class GoldenMismatchError(ArtifactError):
    """The model loads, but answers its own golden input wrongly."""


class ConfigError(InputError):
    """A configuration file or an option is wrong."""


class DataError(InputError):
    """A data set can't be used."""


class ModelError(InputError):
    """A model can't be loaded, or isn't supported."""


class MessageError(InputError):
    """A message from the wire doesn't validate."""


class GateError(EdgeloopError):
    """What was asked for was measured, and doesn't hold."""


class BrokerError(EdgeloopError):
    """The MQTT broker can't be reached, or refused the connection."""


class StorageError(EdgeloopError):
    """The device's disk is full or fails; nothing was changed."""


class PlaceError(EdgeloopError):
    """A device or an emulator can't be reached, or couldn't do a job."""


class MissingExtraError(EdgeloopError):
    """A part needs packages from an extra that isn't installed.

    Args:
        extra: the extra's name, without brackets.
        missing: the module that couldn't be imported.
    """

    def __init__(self, extra: str, missing: str) -> None:
        super().__init__(f"this needs {missing!r}, which isn't installed: pip install 'edgeloop[{extra}]'")
        self.extra = extra
        self.missing = missing
