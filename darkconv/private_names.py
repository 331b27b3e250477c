"""Hold the private names of libraries that have no public counterpart.

A new version of a library may remove one. Each function says with which versions it was tried, and
raises an error that says so where the name is gone.
"""

from typing import Any

from darkconv.errors import DarkconvError


def keras_operation(value: Any) -> Any:
    """Return the Keras operation that gave a symbolic value, as of Keras 3.11 to 3.15.

    Args:
        value: a symbolic tensor of a Keras model.

    Raises:
        DarkconvError: Keras keeps it in another place.
    """
    try:
        return value._keras_history.operation
    except AttributeError as error:
        raise _gone("keras", "_keras_history.operation", "3.11 to 3.15") from error


def compiler_error() -> type[Exception]:
    """Return the base class of the errors of torch.compile, as of PyTorch 2.13.

    Raises:
        DarkconvError: PyTorch keeps it in another place.
    """
    try:
        from torch._dynamo.exc import TorchDynamoException  # this import takes a second
    except ImportError as error:
        raise _gone("torch", "torch._dynamo.exc.TorchDynamoException", "2.13") from error
    return TorchDynamoException


def _gone(library: str, name: str, tried: str) -> DarkconvError:
    from darkconv.libraries import LIBRARIES

    return DarkconvError(
        f"{library} {LIBRARIES[library].installed or '(not installed)'} has no {name}",
        expected=f"a version that darkconv was tried with: {tried}",
        hint=f"pip install '{LIBRARIES[library].packages[0]}=={tried.split()[-1]}.*'",
    )
