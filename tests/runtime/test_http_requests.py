"""Requests that RFC 9112 requires to refuse get 400 and a closed connection; the rest is served."""

import json

import pytest

from services.runtime.http.server import serve_http
from tests.runtime.raw_http import Echo, get, raw

POST = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"

REFUSED = {
    "length and coding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + END,
    "two lengths that differ": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two lengths that agree": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "a hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "an empty length": POST + b"Content-Length:\r\n\r\n",
    "a length in two words": POST + b"Content-Length: 1 2\r\n\r\nabc",
    "a length beyond 64 bits": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + END,
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + END,
    "chunked, gzip": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + END,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + END,
    "chunked after a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + END,
    "chunked in quotes": POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + END,
    "a coding in HTTP/1.0": b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
    "a chunk size of letters": CHUNKED + b"zz\r\nab\r\n" + END,
    "a negative chunk size": CHUNKED + b"-1\r\nab\r\n" + END,
    "a chunk size with 0x": CHUNKED + b"0x2\r\nab\r\n" + END,
    "a chunk size beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\nab\r\n" + END,
    "a chunk size and a bare LF": CHUNKED + b"2\nab\r\n" + END,
    "a chunk size and a space": CHUNKED + b"2 \r\nab\r\n" + END,
    "a space and a chunk size": CHUNKED + b" 2\r\nab\r\n" + END,
    "more than the chunk": CHUNKED + b"2\r\nabXX" + END,
    "a chunk and a bare LF": CHUNKED + b"2\r\nab\n" + END,
    "a bare LF in a chunk extension": CHUNKED + b"2;a\nb\r\nab\r\n" + END,
    "a bare CR in a chunk extension": CHUNKED + b"2;a\rb\r\nab\r\n" + END,
    "a folded field": GET + b"X: a\r\n b\r\n\r\n",
    "a fold before the first field": b"GET /echo HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n",
    "bare LFs": b"GET /echo HTTP/1.1\nHost: a\n\n",
    "a bare LF behind a field": b"GET /echo HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "a bare LF as the end of the head": GET + b"\n",
    "a bare CR in a field": b"GET /echo HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
    "a space before the colon": b"GET /echo HTTP/1.1\r\nHost : a\r\n\r\n",
    "a tab before the colon": POST + b"Content-Length\t: 3\r\n\r\nabc",
    "NUL in a name": GET + b"X\x00: y\r\n\r\n",
    "NUL in a value": GET + b"X: y\x00z\r\n\r\n",
    "a control character in a value": GET + b"X: y\x01z\r\n\r\n",
    "an empty name": GET + b": y\r\n\r\n",
    "no colon": GET + b"Xyz\r\n\r\n",
    "no Host": b"GET /echo HTTP/1.1\r\n\r\n",
    "two Hosts": GET + b"Host: a\r\n\r\n",
    "two words as Host": b"GET /echo HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a user in Host": b"GET /echo HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "a path in Host": b"GET /echo HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a port of letters": b"GET /echo HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "two Hosts in a list": b"GET /echo HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "another host in the target": b"GET http://b/echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "a user in the target": b"GET http://u@a/echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment in the target": b"GET /echo#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /ec ho HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "an unknown method": b"FOO /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method in lower case": b"get /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown version": b"GET /echo HTTP/1.2\r\nHost: a\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

SERVED = {
    "a length": (POST + b"Content-Length: 3\r\n\r\nabc", "abc"),
    "chunks": (CHUNKED + b"2\r\nab\r\n1\r\nc\r\n" + END, "abc"),
    "chunks with an extension and a trailer": (CHUNKED + b"3;a=b\r\nabc\r\n0\r\nX-Trailer: y\r\n\r\n", "abc"),
    "CHUNKED": (POST + b"Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n" + END, "abc"),
    "HTTP/1.0 without Host": (b"POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "abc"),
    "an absolute target": (b"GET http://A/echo HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    "an IPv6 Host": (b"GET /echo HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", ""),
    "empty lines before": (b"\r\n\r\n" + GET + b"\r\n", ""),
    "a body with GET": (GET + b"Content-Length: 3\r\n\r\nabc", "abc"),
    "an offer of HTTP/2": (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc", "abc"),
    "a WebSocket that nobody serves": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", ""),
    "one-byte chunks": (CHUNKED + b"1\r\nx\r\n" * 4000 + END, "x" * 4000),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_ambiguous_requests_are_refused(name: str) -> None:
    async with serve_http(Echo().app(), host="127.0.0.1", port=0) as url, raw(url) as connection:
        status, body = await connection.ask(REFUSED[name])
        assert (status, json.loads(body)["error"]["code"]) == (400, "malformed")
        assert await connection.rest() == b""  # nothing that follows is taken for a request


@pytest.mark.parametrize("name", SERVED)
async def test_what_the_rfc_allows_is_served(name: str) -> None:
    data, body = SERVED[name]
    async with serve_http(Echo().app(), host="127.0.0.1", port=0) as url, raw(url) as connection:
        status, answer = await connection.ask(data)
        assert (status, json.loads(answer)["body"]) == (200, body)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/echo", *(f"X-{n}: y" for n in range(200))), 431),
        (get("/echo", f"X: {'y' * 40_000}"), 431),
        (b"GET /echo HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000, 431),  # and no end
        (b"\r\n" * 40_000, 431),
        (get(f"/echo?{'y' * 9000}"), 414),
        (CHUNKED + b"1\r\nx\r\n" * 50_000, 400),
        (CHUNKED + b"1\r\nx\r\n" + b"0\r\n" + b"X: y\r\n" * 10_000, 431),
        (b"GET /echo HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /echo\r\n\r\n", 505),
    ],
)
async def test_oversized_heads_are_refused_before_they_are_buffered(data: bytes, status: int) -> None:
    async with serve_http(Echo().app(), host="127.0.0.1", port=0) as url, raw(url) as connection:
        assert (await connection.ask(data))[0] == status
        assert await connection.rest() == b""


async def test_pipelined_requests_are_answered_in_order_until_they_are_too_many() -> None:
    async with serve_http(Echo().app(), host="127.0.0.1", port=0) as url, raw(url) as connection:
        connection.writer.write(get("/echo") * 5000)
        statuses = [part[:3] for part in (await connection.rest()).split(b"HTTP/1.1 ")[1:]]
        assert 1 <= len(statuses) <= 10
        assert set(statuses) == {b"200"}


async def test_a_bad_request_behind_good_ones_takes_no_answer_from_them() -> None:
    async with serve_http(Echo().app(), host="127.0.0.1", port=0) as url, raw(url) as connection:
        connection.writer.write(get("/echo") + get("/echo") + REFUSED["two Hosts"] + get("/echo"))
        assert [part[:3] for part in (await connection.rest()).split(b"HTTP/1.1 ")[1:]] == [b"200", b"200"]


async def test_bytes_after_the_last_request_are_not_parsed_as_one() -> None:
    async with serve_http(Echo().app(), host="127.0.0.1", port=0) as url, raw(url) as connection:
        connection.writer.write(get("/echo", "Connection: close") + get("/echo"))
        assert [part[:3] for part in (await connection.rest()).split(b"HTTP/1.1 ")[1:]] == [b"200"]


async def test_expect_100_continue_is_answered() -> None:
    data = POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    async with serve_http(Echo().app(), host="127.0.0.1", port=0) as url, raw(url) as connection:
        assert (await connection.ask(data))[0] == 100
        assert (await connection.ask(b"abc"))[0] == 200


async def test_a_refused_expect_100_continue_closes_the_connection() -> None:
    data = b"POST /unread HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 30\r\n\r\n"
    async with serve_http(Echo().app(), host="127.0.0.1", port=0) as url, raw(url) as connection:
        assert (await connection.ask(data))[0] == 401
        assert await connection.rest() == b""


async def test_the_answer_is_delivered_when_the_body_is_not_read() -> None:
    data = b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000
    async with serve_http(Echo().app(), host="127.0.0.1", port=0) as url, raw(url) as connection:
        assert await connection.ask(data) == (401, b"not read")
        assert (await connection.ask(get("/echo")))[0] == 200
