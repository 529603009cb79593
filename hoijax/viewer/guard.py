"""Who may open the viewer: names this machine by the right host, is no other site's page, has the token.

A page on another site can send requests to a server on this machine, and read the answers where the
site's name is made to point here (DNS rebinding). Both show in the headers: the first in `Origin`,
the second in `Host`. Beyond loopback every machine of the network can connect, so the URL has a secret.
"""

import http
import ipaddress
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

COOKIE = "hoijax_viewer"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True)
class Guard:
    """What a request must have to be answered."""

    host: str
    """The address that is served at."""
    token: str | None
    """The secret of the URL; None on loopback."""

    @classmethod
    def of_host(cls, host: str) -> "Guard":
        """A new token wherever other machines can connect."""
        return cls(host, None if is_loopback(host) else secrets.token_urlsafe(16))

    def refusal(self, path: str, headers: Any) -> str | None:
        """Why a request is refused, or None. `headers` has get_all(name), as websockets' has."""
        hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
        name = _host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            return "one Host header is needed"
        # Other machines know this one by names that it does not know itself; they have the token.
        if self.token is None and name not in (*LOOPBACK_NAMES, self.host.lower()):
            return "this viewer is not served under that host name"
        own = {f"{scheme}://{hosts[0]}".lower() for scheme in ("http", "https")}
        if any(origin.lower() not in own for origin in origins):
            return "pages of other sites may not open this viewer"
        if self.token is not None and not self._has_token(path, headers):
            return "open the whole address that hoijax view printed, with its token"
        return None

    def _has_token(self, path: str, headers: Any) -> bool:
        given = parse_qs(urlsplit(path).query).get("token", [])
        for line in headers.get_all("Cookie"):
            try:
                cookies = SimpleCookie(line)
            except CookieError:
                continue
            given += [cookies[COOKIE].value] if COOKIE in cookies else []
        secret = (self.token or "").encode()
        return any(secrets.compare_digest(value.encode(), secret) for value in given)

    def wrap(self, process_request: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """A `process_request` of websockets' server that refuses first."""

        def guarded(connection: Any, request: Any) -> Any:
            reason = self.refusal(request.path, request.headers)
            if reason is not None:
                return connection.respond(http.HTTPStatus.FORBIDDEN, f"{reason}\n")
            response = process_request(connection, request)
            if response is not None and self.token is not None:
                # The page's own files and its websocket come without the query.
                response.headers["Set-Cookie"] = (
                    f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
                )
            return response

        return guarded


def _host_name(header: str) -> str | None:
    """The name in a Host header; None where it is not a name, or an address in brackets, and a port."""
    parts = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d+)?", header.lower())
    return parts and (parts[1] or parts[2])
