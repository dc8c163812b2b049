"""Errors raised when the Hugging Face Hub is unreachable."""

from __future__ import annotations


def connection_errors() -> tuple[type[Exception], ...]:
    """Return the exception types of an unreachable Hub. They include missing repositories: catch those first."""
    from huggingface_hub.errors import HfHubHTTPError

    # Its bases are OSError and the errors of the HTTP client, which differs between versions of the library.
    return (*(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)), RuntimeError)


def first_line(error: Exception) -> str:
    """Return the first line of the message, or the name of the exception."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
