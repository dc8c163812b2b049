"""WSGI middleware that lets a site only be read, and only by its own pages. It needs the standard library alone.

A page of another site can send requests to a server on this machine (cross-site requests), or give its own name the
address of this machine (DNS rebinding). So the host that a request names is checked, the origin of the page that sends
it and, if a token was given, that token, which a foreign page cannot know.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
READING_METHODS = ("GET", "HEAD")
TOKEN_PARAMETER = "token"  # noqa: S105


class ReadOnlySite:
    """Passes requests on to ``application``, or answers 405 to what may write and 403 to what is foreign."""

    def __init__(
        self, application: WSGIApplication, *, hosts: Collection[str] = LOOPBACK_HOSTS, token: str | None = None
    ) -> None:
        """``hosts`` are the names under which the site is opened, at any port, since a tunnel changes it.

        With a ``token`` only a request that has it is answered: once in the address, from then on as a cookie.
        """
        self._application = application
        self._hosts = frozenset(hosts)
        self._token = token

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["REQUEST_METHOD"] not in READING_METHODS:
            allow = ("Allow", ", ".join(READING_METHODS))
            return _refuse(start_response, "405 Method Not Allowed", "this site can only be read", allow)
        refusal = self._foreign(environ)
        if refusal is not None:
            return _refuse(start_response, "403 Forbidden", refusal)
        if self._token is not None and not self._has_cookie(environ):
            return self._admit(environ, start_response, self._token)
        return self._application(environ, start_response)

    def _foreign(self, environ: dict[str, Any]) -> str | None:
        """Return why the request is not one of this site's own pages or of a person who opens it; None if it is."""
        host = environ.get("HTTP_HOST", "")
        if _host_name(f"//{host}") not in self._hosts:
            return f"'{host:.100}' is not a name of this site; open it as {' or '.join(sorted(self._hosts))}"
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and urlsplit(origin).netloc != host:
            return f"the page '{origin:.100}' is not part of this site"
        return None

    def _cookie_name(self, environ: dict[str, Any]) -> str:
        return f"autoopt_{environ['SERVER_PORT']}"  # Browsers do not keep the cookies of two ports apart.

    def _has_cookie(self, environ: dict[str, Any]) -> bool:
        try:
            cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(self._cookie_name(environ))
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, value: str) -> bool:
        return hmac.compare_digest(value.encode(), (self._token or "").encode())

    def _admit(self, environ: dict[str, Any], start_response: StartResponse, token: str) -> Iterable[bytes]:
        """Put the token of the address into a cookie and redirect to the address without it; 403 without token."""
        parameters = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        if not any(name == TOKEN_PARAMETER and self._is_token(value) for name, value in parameters):
            return _refuse(start_response, "403 Forbidden", "open the address that was printed, with its token")
        rest = urlencode([(name, value) for name, value in parameters if name != TOKEN_PARAMETER])
        path = "/" + environ.get("PATH_INFO", "").lstrip("/")  # Not "//host", which is another site.
        cookie = f"{self._cookie_name(environ)}={token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [("Location", f"{path}?{rest}" if rest else path), ("Set-Cookie", cookie), ("Content-Length", "0")]
        start_response("303 See Other", [*headers, ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store")])
        return [b""]


def _host_name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _refuse(start_response: StartResponse, status: str, reason: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    body = f"{reason}\n".encode()
    content = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, [*content, ("X-Content-Type-Options", "nosniff"), *headers])
    return [body]
