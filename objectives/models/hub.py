"""What can go wrong on the way to the Hugging Face Hub."""

from __future__ import annotations


def connection_errors() -> tuple[type[Exception], ...]:
    """The errors of a Hub that is not reached. A repository that is not there is one of them: catch that first."""
    from huggingface_hub.errors import HfHubHTTPError

    # Its bases are OSError and what the HTTP client raises, which is another library from version to version.
    return (*(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)), RuntimeError)


def first_line(error: Exception) -> str:
    """The error in short."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
