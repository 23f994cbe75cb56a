"""The demo page in Chromium, over https and wss, through each web server."""

from urllib.parse import quote

import pytest

from harness.api import make_token
from harness.browser import Browser
from harness.web_servers import Apache, Nginx


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(params=[Nginx, Apache], ids=["nginx", "apache"])
def server(request, make_service, certificates):
    service = make_service()
    service.start_gateway()
    if request.param is Nginx:
        service.start_api()
    return request.param(service, certificates)


def test_a_page_shows_each_push_and_comes_back_after_a_restart_of_the_gateway(server, browser):
    assert server.api.register("demo").status == 200
    browser.open(server.demo_url)
    browser.wait_for_state("live")
    assert "Connected" in browser.status_text

    server.api.publish("demo", "first")
    browser.wait_for_push('"first"')
    payload = '{"html":"<b onclick=alert(1)>&amp;</b>", "id":9007199254740993}'
    server.api.call("publish", raw=f'{{"topic":"demo","payload":{payload}}}'.encode())
    browser.wait_for_push(payload)

    assert server.service.gateway.stop() is None
    browser.wait_for_state("waiting")
    server.service.start_gateway()
    browser.wait_for_state("live")
    server.api.publish("demo", "after the restart")
    browser.wait_for_push('"after the restart"')
    assert len(browser.pushes) == 3


def test_a_page_with_a_good_token_is_let_in_and_with_a_wrong_one_refused(server, browser):
    topic = "club/ø & more"
    assert server.api.register(topic, meta={"require_token": True}).status == 200
    page = f"{server.demo_url}?topic={quote(topic, safe='')}#token="

    browser.open(page + make_token(server.service.secret, topic))
    browser.wait_for_state("live")
    server.api.publish(topic, [1, 2])
    browser.wait_for_push("[1, 2]")

    for token in (make_token("another secret, as long as the real one", topic), make_token(server.service.secret, "x")):
        browser.open(page + token)
        browser.wait_for_state("refused")
        assert "Refused" in browser.status_text and "invalid or expired token" in browser.status_text
    assert token not in server.access_log.read_text()
