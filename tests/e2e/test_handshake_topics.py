"""The topic of a handshake (PROTOCOL.md section 2): how it stands in the query, in which spellings it is found, and
what a request without a good one is told."""

import pytest

from harness.direct import authenticated, path_of, push_of
from harness.handshakes import ask
from harness.neighbour import others_are_served, service  # fixtures
from harness.raw_websocket import RawWebSocket


# What is refused, and how


@pytest.mark.parametrize("query", ["", "?", "?topic=", "?topic", "?other=t", "?topic=&x=1", "?Topic=t", "?xtopic=t"])
def test_no_topic_or_an_empty_one_is_400_missing_topic(service, query):
    status, _, body = ask(service, "/ws" + query)
    assert (status, body) == (400, b"missing topic\n")


@pytest.mark.parametrize("topic", ["unknown", "T", "t ", " t", "t/", "worker.statu", "worker.status.", "*", "%"])
def test_a_topic_that_is_not_registered_is_404(service, topic):
    status, headers, body = ask(service, path_of(topic))
    assert (status, body) == (404, b"topic not registered\n")
    assert headers["content-type"] == "text/plain; charset=utf-8"


def test_a_topic_is_404_again_once_it_is_unregistered(worker, service):
    worker.api.register("comes and goes")
    assert ask(service, path_of("comes and goes"))[0] == 101
    worker.api.unregister("comes and goes")
    assert ask(service, path_of("comes and goes"))[0] == 404


@pytest.mark.parametrize(
    "written",
    ["%00", "t%00", "%00t", "t%00x", "%", "t%", "t%2", "t%zz", "%-1", "%7f", "t%0a", "%0d%0aX-Injected:%20yes%0d%0a",
     "t%0d%0a%0d%0a", "%ff", "t%80", "%c3%28", "%c0%80", "%ed%a0%80", "%f4%90%80%80", "%e2%82", "x" * 256,
     "%c3%a9" * 128, "x" * 1000, "%20" * 1000, "x" * 60000],
    ids=lambda written: written[:20],
)  # fmt: skip
def test_what_cannot_be_a_topic_is_refused(worker, service, written):
    """400 or 404; a request too long for the gateway may also just end."""
    with RawWebSocket(service.ws_address) as client:
        client.send(RawWebSocket.request(f"/ws?topic={written}"))
        answer = client._read_to_end() if len(written) > 500 else client._read_until(b"\r\n\r\n")
    if len(written) <= 500 or answer:
        assert answer.split()[1] in (b"400", b"404", b"414", b"431"), answer
        assert b"x-injected" not in answer.lower()


def test_255_bytes_are_a_topic_and_256_are_not(worker, service):
    assert worker.api.register("y" * 255).status == 200
    assert ask(service, path_of("y" * 255))[0] == 101
    assert ask(service, path_of("y" * 256))[0] in (400, 404)


# What is accepted


@pytest.mark.parametrize(
    "topic",
    ["a b", "a/b", "100%", "a&b=c", "a+b", "a#b?c", "a=b", "a;b", "ø", "📻 qso", "日本", '"quoted"', "it's", "<b>",
     "..", "../../etc/passwd", "\\", "|", "a,b", "x" * 255, "é" * 127, "%41", "%%%", "topic=", "&", "?", "/", "//",
     "\u2028"],
)  # fmt: skip
def test_a_percent_encoded_topic_is_found_byte_by_byte(worker, service, topic):
    assert worker.api.register(topic).status == 200
    with authenticated(service, topic) as client:
        worker.api.publish(topic, 1)
        assert client.read_message() == push_of("1")


@pytest.mark.parametrize("written", ["a%2fb%2Fc", "%61/b/%63", "a/b/c"])
def test_a_topic_has_many_spellings(worker, service, written):
    worker.api.register("a/b/c")
    assert ask(service, f"/ws?topic={written}")[0] == 101


def test_of_several_topic_parameters_the_first_counts(worker, service):
    assert ask(service, "/ws?topic=t&topic=unknown")[0] == 101
    assert ask(service, "/ws?topic=unknown&topic=t")[0] == 404


@pytest.mark.parametrize(
    "query", ["a=1&topic=t", "topic=t&a=1", "a&b=&topic=t&c", "xtopic=u&topic=t", "&&topic=t&&", "a=%zz&topic=t"]
)
def test_other_parameters_are_ignored(service, query):
    assert ask(service, f"/ws?{query}")[0] == 101


def test_the_reserved_topic_needs_no_registration(service):
    assert ask(service, "/ws?topic=worker.status")[0] == 101
