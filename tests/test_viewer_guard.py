"""Requests to the live viewer: by the right name, from no other site, with the token; over a real socket."""

import http.client
import socket

import pytest

from hoijax.errors import UserError
from hoijax.viewer.guard import Guard, is_loopback
from hoijax.viewer.server import start_server

pytest.importorskip("viser", reason='needs viser: pip install "hoijax[viewer]"')
pytestmark = pytest.mark.filterwarnings(
    # of viser's websocket library, when a server stops
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def open_server():
    """A server on loopback, and one that other machines could reach if the address were another."""
    server = start_server("127.0.0.1", 0)
    yield server
    server.stop()


def ask(port: int, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    """The answer to a request with just these headers; `_` stands for a dash."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("GET", path, skip_host=True)
    for key, value in headers.items():
        connection.putheader(key.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    connection.close()
    return response


@pytest.mark.parametrize("upgrade", [{}, UPGRADE], ids=["page", "websocket"])
@pytest.mark.parametrize(
    ("host", "origin", "is_let_in"),
    [
        ("127.0.0.1:{port}", None, True),
        ("localhost:{port}", "http://localhost:{port}", True),
        ("localhost:9000", "http://localhost:9000", True),  # an ssh tunnel
        ("evil.example:{port}", None, False),
        ("127.0.0.1.evil.example", None, False),
        ("127.0.0.1:{port}.evil.example", None, False),
        ("evil.example@127.0.0.1", None, False),
        ("[", None, False),
        ("[::1]:{port}", None, True),
        ("127.0.0.1:{port}", "http://[", False),
        ("127.0.0.1:{port}", "http://a@127.0.0.1:{port}", False),
        ("127.0.0.1:{port}", "http://evil.example", False),
        ("127.0.0.1:{port}", "http://127.0.0.1:9", False),
        ("127.0.0.1:{port}", "null", False),
    ],
)
def test_other_hosts_and_other_sites_are_refused(open_server, upgrade, host, origin, is_let_in):
    port = open_server.get_port()
    headers = {"Host": host.format(port=port), **upgrade}
    if origin is not None:
        headers["Origin"] = origin.format(port=port)
    answer = ask(port, **headers)
    assert answer.status == ((101 if upgrade else 200) if is_let_in else 403)


def test_beyond_loopback_only_the_whole_address_opens():
    server = start_server("0.0.0.0", 0)
    try:
        port, token = server.get_port(), server.hoijax_guard.token
        assert ask(port, Host="box:1").status == 403
        assert ask(port, "/?token=wrong", Host="box:1").status == 403
        page = ask(port, f"/?token={token}", Host="box:1")
        assert page.status == 200
        cookie = str(page.getheader("Set-Cookie")).split(";")[0]
        assert ask(port, Host="box:1", Cookie=cookie, **UPGRADE).status == 101
        assert ask(port, Host="box:1", Cookie="hoijax_viewer=wrong", **UPGRADE).status == 403
        stranger = {"Host": "box:1", "Origin": "http://evil.example", "Cookie": cookie}
        assert ask(port, **stranger, **UPGRADE).status == 403
    finally:
        server.stop()


def test_only_loopback_needs_no_token_and_no_host_is_refused():
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1")] == [True] * 3
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.4", "box")] == [False] * 4
    assert Guard.of_host("0.0.0.0").token != Guard.of_host("0.0.0.0").token
    with pytest.raises(UserError, match="--host is empty"):
        start_server("", 0)


def test_what_is_no_request_leaves_no_traceback_on_the_console(open_server, caplog):
    with socket.create_connection(("127.0.0.1", open_server.get_port()), timeout=10) as connection:
        connection.sendall(b"GET /?token=" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n")
        while connection.recv(1000):
            pass
    open_server.flush()
    assert [record for record in caplog.records if record.exc_info] == []
