"""Execution providers, with which onnxruntime computes, by the name of a device."""

from typing import Any

from darkconv.errors import DarkconvError, Where

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
PROVIDERS = {
    "cpu": CPU,
    "cuda": CUDA,
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""Execution provider by the name of the device."""
NUMBERED = ("cuda", "tensorrt", "directml")
"""Devices of which there may be several, chosen by a number: "cuda:1"."""
Provider = str | tuple[str, dict[str, Any]]


def find_providers(device: str, file: str | None = None) -> list[Provider]:
    """Return the providers for a device, in the order in which onnxruntime tries them.

    Operators that a provider does not support run on the CPU.

    Args:
        device: "auto", a key of `PROVIDERS`, or one of `NUMBERED` with a number: "cuda:1".
        file: name of the file to run, for messages.

    Raises:
        DarkconvError: there is no such device, or the installed onnxruntime has no provider for it.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if device == "auto":
        device = "cuda" if CUDA in available else "cpu"
    name, _, number = device.partition(":")
    if name not in PROVIDERS or (number and not (name in NUMBERED and number.isdecimal())):
        expected = "auto, cpu, cuda, cuda:N, tensorrt, openvino, coreml or directml"
        raise DarkconvError("device", where=Where(file=file), expected=expected, found=device)
    provider = PROVIDERS[name]
    if provider not in available:
        raise missing(device, file)
    first: Provider = (provider, {"device_id": int(number)}) if number else provider
    return [first] if provider == CPU else [first, CPU]


def missing(device: str, file: str | None = None) -> DarkconvError:
    """Return the error for a device without a provider; it names the devices that have one.

    Args:
        device: device that was asked for.
        file: name of the file to run, for the message.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    names = [name for name, provider in PROVIDERS.items() if provider in available]
    return DarkconvError(
        f"device {device}: onnxruntime {onnxruntime.__version__} cannot compute on it here",
        where=Where(file=file),
        expected=f"one that it has been built for: {', '.join(names)}",
        hint="onnxruntime-gpu brings cuda and tensorrt, onnxruntime-openvino openvino",
    )


def check_provider(session: Any, device: str, file: str | None = None) -> None:
    """Check that a session computes on the device that was asked for.

    Args:
        session: session of onnxruntime.
        device: device that was asked for; "auto" is always right.
        file: name of the file to run, for the message.

    Raises:
        DarkconvError: onnxruntime has silently used another device.
    """
    provider = PROVIDERS.get(device.partition(":")[0])
    if provider is not None and provider not in session.get_providers():
        raise missing(device, file)
