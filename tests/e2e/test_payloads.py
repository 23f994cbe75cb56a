"""What may be in a body: payload bytes reach a subscriber unchanged; strict JSON and UTF-8; topics."""

import os

import pytest



MIB = 1048576
SUBSCRIBER = "payloads"


@pytest.fixture(scope="module")
def browser(worker):
    """One subscriber for all tests here: what must not be published would surprise the next one."""
    assert worker.api.register(SUBSCRIBER).status == 200
    with worker.subscribe(SUBSCRIBER) as browser:
        browser.authenticate()
        yield browser
        worker.api.publish(SUBSCRIBER, "the end")
        assert browser.receive() == '{"type":"push","payload":"the end"}'


def body_of(payload):
    return b'{"topic":"payloads","payload":' + payload + b"}"


def publish(worker, payload):
    return worker.api.call("publish", raw=body_of(payload))


def arrives(worker, browser, payload):
    reply = publish(worker, payload)
    assert reply.status == 200, reply.body
    assert browser.receive().encode() == b'{"type":"push","payload":' + payload + b"}"


VERBATIM = {
    "large integers": b"[9007199254740993,-9223372036854775809,123456789012345678901234567890]",
    "trailing zeros": b"[1.10,1.0,100,1.000000000000000000000000000000000001]",
    "exponents": b"[1e400,1E+2,-1e-999,0e0,-0,-0.0,0.1e1]",
    "each escape": rb'"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\u20ac\ud83d\ude00"',
    "escapes not rewritten": rb'"\u0061\/\u005c\u0022\u007f"',
    "an escaped NUL": rb'"a\u0000b"',
    "escaped U+2028": rb'"\u2028\u2029"',
    "raw U+2028": '"\u2028\u2029"'.encode(),
    "white space": b'{ "a" :\t1 ,\r\n\n "b": [ ] , "c" : { } }',
    "members twice, order, empty names": b'{"b":1,"a":2,"b":3,"":{},"":0}',
    "its own kind of member": b'{"type":"push","payload":{"topic":"x","payload":1}}',
    "html": b'"</script><!-- & -->"',
    "every plane": '"\u007f\u0080\u07ff\u0800\ud7ff\ue000\ufeff\ufffd\ufffe\uffff\U00010000\U0010ffff"'.encode(),
    "lone surrogate escapes": rb'["\ud800","\udc00","\udc00\ud800","\ud800\ud800","\uD83D\n","\udFFFx"]',
    "a lone surrogate in a name": rb'{"\udead":1}',
    "null": b"null", "true": b"true", "false": b"false", "zero": b"0", "empty string": b'""', "empty array": b"[]",
    "empty object": b"{}", "a number": b"-12.5e-3", "text": '"grüße 📻"'.encode(),
}  # fmt: skip


@pytest.mark.parametrize("payload", VERBATIM.values(), ids=VERBATIM)
def test_payload_bytes_arrive_verbatim(worker, browser, payload):
    arrives(worker, browser, payload)


def test_white_space_around_the_payload_is_not_part_of_it(worker, browser):
    body = b' {\t"topic" : "payloads" ,\n"payload" :\r\n\t [ 1 , 2 ] \n , "more" : 1 } \r\n\t '
    assert worker.api.call("publish", raw=body).status == 200
    assert browser.receive() == '{"type":"push","payload":[ 1 , 2 ]}'


def test_the_payload_may_stand_first_and_its_name_be_escaped(worker, browser):
    assert worker.api.call("publish", raw=rb'{"\u0070ayloa\u0064":{"topic":1},"t\u006fpic":"payloads"}').status == 200
    assert browser.receive() == '{"type":"push","payload":{"topic":1}}'


def test_payload_of_900_kb_arrives(worker, browser):
    arrives(worker, browser, b'{"image":"' + os.urandom(450_000).hex().encode() + b'"}')
    arrives(worker, browser, ('"' + "é😀\u2028" * 100_000 + '"').encode())


def test_body_of_exactly_1_mib_arrives(worker, browser):
    arrives(worker, browser, b"[" + b"1" * (MIB - len(body_of(b"[]"))) + b"]")
    arrives(worker, browser, b"{" + b" " * (MIB - len(body_of(b"{}"))) + b"}")


@pytest.mark.parametrize("payload", [
    b"[" * 500 + b"]" * 500, b'{"a":' * 500 + b"1" + b"}" * 500, b'[{"a":' * 250 + b"null" + b"}]" * 250,
], ids=["arrays", "objects", "mixed"])  # fmt: skip
def test_nesting_500_deep_arrives(worker, browser, payload):
    arrives(worker, browser, payload)


@pytest.mark.parametrize("deep", [
    b"[" * 200_000, b"[" * 200_000 + b"]" * 200_000, b'{"a":' * 200_000, b'{"":' * 180_000 + b"1" + b"}" * 180_000,
    b'[{"a":' * 150_000,
], ids=range(5))  # fmt: skip
def test_nesting_200000_deep_is_refused_without_a_crash(worker, browser, deep):
    for body in (body_of(deep), b'{"x":' + deep + b',"topic":"payloads","payload":1}', deep):
        reply = worker.api.call("publish", raw=body)
        assert reply.status == 400 and reply.text.startswith("bad request: nested too deep"), reply.body
    assert all(process.runs() for process in worker.service.api)


BAD_UTF8 = {
    "a continuation byte alone": b"\x80",
    "overlong slash, 2 bytes": b"\xc0\xaf", "overlong slash, 3 bytes": b"\xe0\x80\xaf",
    "overlong slash, 4 bytes": b"\xf0\x80\x80\xaf", "overlong U+007F": b"\xc1\xbf", "overlong U+07FF": b"\xe0\x9f\xbf",
    "overlong U+FFFF": b"\xf0\x8f\xbf\xbf", "overlong NUL": b"\xc0\x80",
    "surrogate U+D800": b"\xed\xa0\x80", "surrogate U+DFFF": b"\xed\xbf\xbf",
    "surrogate pair (CESU-8)": b"\xed\xa0\xbd\xed\xb8\x80",
    "truncated, 2 bytes": b"\xc3", "truncated, 3 bytes": b"\xe2\x82", "truncated, 4 bytes": b"\xf0\x9f\x98",
    "truncated before text": b"\xe2\x82x", "U+110000": b"\xf4\x90\x80\x80", "5 bytes": b"\xf8\x88\x80\x80\x80",
    "6 bytes": b"\xfc\x84\x80\x80\x80\x80", "0xFE": b"\xfe", "0xFF": b"\xff", "Latin-1": "grüße".encode("latin-1"),
    "behind eight plain bytes": b"abcdefgh\xff", "UTF-16": "a".encode("utf-16"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_UTF8.values(), ids=BAD_UTF8)
def test_invalid_utf8_is_refused_wherever_it_stands(worker, browser, bad):
    bodies = {
        "payload": body_of(b'"' + bad + b'"'),
        "deep in the payload": body_of(b'[{"a":["x' + bad + b'y"]}]'),
        "a name in the payload": body_of(b'{"' + bad + b'":1}'),
        "topic": b'{"topic":"' + bad + b'","payload":1}',
        "an unknown member": b'{"topic":"payloads","payload":1,"x":"' + bad + b'"}',
        "a name": b'{"topic":"payloads","payload":1,"' + bad + b'":1}',
    }
    for where, body in bodies.items():
        reply = worker.api.call("publish", raw=body)
        assert reply.status == 400 and reply.text.startswith("bad request: invalid UTF-8 at byte "), where
        assert int(reply.text.split()[-1]) >= body.index(bad), where
    for body in (body_of(bad), body_of(b"[1," + bad + b"]")):  # outside of any string
        assert worker.api.call("publish", raw=body).status == 400


# RFC 8259, section by section: texts that are no JSON, each as a payload. Many lenient parsers take some of them.
NOT_JSON = {
    "white space": [b"\x0b1", b"\x0c1", b"\xc2\xa01", b"\xe2\x80\xa81", b"1\x00", b"\xef\xbb\xbf1"],
    "literals": [b"True", b"NULL", b"nul", b"truee", b"nulll", b"undefined", b"NaN", b"-NaN", b"Infinity",
                 b"-Infinity"],
    "objects": [b"{", b"{a:1}", b"{'a':1}", b'{"a"}', b'{"a":}', b'{"a":1,}', b'{,"a":1}', b'{"a":1,,"b":2}',
                b'{"a" 1}', b'{"a":1 "b":2}', b"{1:2}", b'{"a":1}}', b'{"a":1]', b'{"a"::1}', b'{"a";1}', b"{null:1}",
                b'{"a":1;}'],
    "arrays": [b"[", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1,,2]", b"[1 2]", b"[1}", b"]", b"[1]]", b"[1;2]", b"[:1]"],
    "numbers": [b"01", b"-01", b"00", b"+1", b"1.", b".5", b"-.5", b"-", b"--1", b"1e", b"1e+", b"1.e1", b"1.5.5",
                b"0x1", b"1_000", b"1,5", b"1f", b"1e1.5", b"- 1", b"\xef\xbc\x91", b"1 000", b"0b1", b"0o7",
                b"1n", b"1e--1"],
    "strings": [b'"', b'"\\"', b"'a'", b"`a`", b'"\\x41"', b'"\\u12"', b'"\\u12G4"', b'"\\U0041"', b'"\\0"', b'"\\a"',
                b'"\\v"', b'"\\\'"', b'"\\ "', b'"a""b"', b'"a"b', b'"\\u{41}"', b'"\\\n"', b'"\\', b'"\\u',
                b'"\\u+041"', b"\xe2\x80\x9ca\xe2\x80\x9d"],
    "comments": [b"/* */ 1", b"1 // x", b"# x\n1", b"<!-- -->1"],
    "more than one value": [b"1 2", b'1,"a"', b"{}{}", b"[][]", b"1;"],
    "nothing": [b"", b" ", b","],
}  # fmt: skip


@pytest.mark.parametrize("texts", NOT_JSON.values(), ids=NOT_JSON)
def test_text_that_breaks_the_grammar_is_refused(worker, browser, texts):
    for text in texts:
        reply = publish(worker, text)
        assert reply.status == 400 and reply.text.startswith("bad request: "), text


@pytest.mark.parametrize("byte", [*range(0x20)], ids=lambda byte: f"{byte:#04x}")
def test_raw_control_character_in_a_string_is_refused(worker, browser, byte):
    for body in (body_of(b'"a' + bytes([byte]) + b'"'), b'{"topic":"a' + bytes([byte]) + b'","payload":1}'):
        reply = worker.api.call("publish", raw=body)
        assert reply.status == 400 and reply.text.startswith("bad request: control character in a string at byte ")


def test_raw_delete_and_c1_characters_are_not_control_characters_to_the_grammar(worker, browser):
    arrives(worker, browser, b'"\x7f\xc2\x80\xc2\x9f"')


@pytest.mark.parametrize("text", [
    b"\xef\xbb\xbf{}", b'{"topic":"payloads","payload":1}\x00', b"{} {}", b"{},", b'"{}"',
])  # fmt: skip
def test_body_that_is_more_or_less_than_one_object_is_refused(worker, browser, text):
    reply = worker.api.call("publish", raw=text)
    assert reply.status == 400 and reply.text.startswith("bad request: ")


# Topics


@pytest.mark.parametrize("escape", [r"\ud800", r"\udc00", r"\udc00\ud800", r"a\ud83d", r"\ud83d\u0041", r"\ud83dx"])
def test_lone_surrogate_escape_in_a_topic_is_refused(worker, escape):
    for verb in ("register", "publish", "unregister"):
        reply = worker.api.call(verb, raw=f'{{"topic":"{escape}","payload":1}}'.encode())
        assert (reply.status, reply.text) == (400, "bad topic: not valid UTF-8\n")


@pytest.mark.parametrize("code", [*range(0x20), 0x7F], ids=lambda code: f"U+{code:04X}")
def test_nul_or_control_character_in_a_topic_is_refused(worker, code):
    for topic in (f"\\u{code:04x}", f"a\\u{code:04X}b", f"{'x' * 254}\\u{code:04x}"):
        reply = worker.api.call("register", raw=f'{{"topic":"{topic}"}}'.encode())
        assert (reply.status, reply.text) == (400, "bad topic: control character\n")


@pytest.mark.parametrize("topic", [
    " ", "  two  spaces ", "a/b//c/", "/", "../../etc/passwd", '"quoted"', "it's", "100%", "%2F", "%", "%%41", "a+b",
    "a b", "a&topic=b", "a=b", "?", "#", "a?b#c", "\\", "\\u0041", "{}", "[1]", "😀📻", "日本語", "e\u0301", "\u0080\u009f",
    "\u2028", "\ufeff", "\U0010ffff", "<b>", "$(id)", "'; DROP TABLE topics; --", "_", "null", "0", "worker.status ",
    "Worker.Status", "x" * 255, "😀" * 63 + "abc", "\u202e", "a;b", ":@!$,*()~|^`",
])  # fmt: skip
def test_topic_of_any_other_characters_works_from_register_to_push(worker, topic):
    assert worker.api.register(topic).status == 200
    with worker.subscribe(topic) as subscriber:
        assert subscriber.authenticate() == '{"type":"auth_ok"}'
        assert worker.api.publish(topic, "here").status == 200
        assert subscriber.receive() == '{"type":"push","payload":"here"}'
    assert topic in worker.api.status("?topics=1").json["topic_list"]
    assert worker.api.unregister(topic).status == 200
    assert worker.api.publish(topic, 1).status == 404
