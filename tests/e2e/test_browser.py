"""The demo page in Chromium, over https and wss, through each web server."""

import subprocess
from urllib.parse import quote

import pytest
from selenium.webdriver.common.by import By

from harness import sqlite
from harness.api import make_token
from harness.browser import Browser as Chromium
from harness.process import wait_until
from harness.service import Service
from harness.web_servers import Apache, Nginx

SHOW_LIMIT_S = 20.0  # the page may be in its longest wait before it connects again


class Browser(Chromium):
    """With the demo page in it."""

    @property
    def state(self):
        """connecting, live, waiting or refused."""
        return self.run("return document.body.dataset.state")

    @property
    def transport(self):
        return self.run("return document.body.dataset.transport")

    @property
    def status_text(self):
        return self.driver.find_element(By.CSS_SELECTOR, "[role=status]").text

    @property
    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    @property
    def pushes(self):
        """The payloads shown, newest first."""
        return self.driver.execute_script("return Array.from(document.querySelectorAll('#pushes pre'), e => e.textContent)")

    def wait_for_state(self, state):
        wait_until(lambda: self.state == state, f"the page is {state}", SHOW_LIMIT_S)

    def wait_for_transport(self, transport):
        wait_until(lambda: self.transport == transport, f"the page is live by {transport}", SHOW_LIMIT_S)

    def wait_for_push(self, payload):
        wait_until(lambda: self.pushes[:1] == [payload], f"the page shows {payload} first", SHOW_LIMIT_S)


@pytest.fixture(scope="module", params=[Nginx, Apache], ids=["nginx", "apache"])
def mounted(request, certificates):
    service = Service()
    service.start_gateway()
    if request.param is Nginx:
        service.start_api()
    try:
        yield request.param(service, certificates)
    finally:
        faults = service.close()
        assert not faults, "\n".join(faults)


@pytest.fixture(scope="module")
def chromium(mounted):
    """Closed before the server, because Apache gives open connections 10 s when it ends."""
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def server(mounted):
    """Shared; the topic "demo" is not registered, and a gateway runs."""
    if not mounted.service.gateway.runs():
        mounted.service.start_gateway()
    mounted.api.unregister("demo")
    return mounted


@pytest.fixture
def browser(server, chromium):
    """Shared; it remembers nothing."""
    chromium.open(server.demo_url)
    chromium.run("sessionStorage.clear()")
    chromium.driver.get("about:blank")
    return chromium


def test_a_page_shows_each_push_polls_without_a_gateway_and_comes_back_to_the_next_one(server, browser):
    assert server.api.register("demo").status == 200
    browser.open(server.demo_url)
    browser.wait_for_transport("websocket")
    assert "Connected by WebSocket" in browser.status_text

    server.api.publish("demo", "first")
    browser.wait_for_push('"first"')
    payload = '{"html":"<b onclick=alert(1)>&amp;</b>", "id":9007199254740993}'
    server.api.call("publish", raw=f'{{"topic":"demo","payload":{payload}}}'.encode())
    browser.wait_for_push(payload)

    assert server.service.gateway.stop() is None
    server.api.publish("demo", "without a gateway")
    browser.wait_for_push('"without a gateway"')
    assert browser.transport == "poll" and "Connected by polling" in browser.status_text
    server.service.start_gateway()
    browser.wait_for_transport("websocket")
    server.api.publish("demo", "after the restart")
    browser.wait_for_push('"after the restart"')
    assert len(browser.pushes) == 4
    assert "may have been missed" not in browser.text


def test_a_page_with_a_good_token_is_let_in_and_one_with_a_wrong_token_is_refused(server, browser):
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


def test_a_page_says_why_its_topic_is_refused_and_goes_on_once_it_is_not(server, browser):
    browser.open(server.demo_url)
    wait_until(lambda: "topic not registered" in browser.status_text, "it says why", SHOW_LIMIT_S)
    assert browser.state in ("waiting", "connecting")
    assert server.api.register("demo", meta={"require_token": True}).status == 200
    browser.wait_for_state("refused")
    assert "this topic needs a token" in browser.status_text
    assert server.api.register("demo").status == 200
    browser.driver.find_element(By.ID, "again").click()
    browser.wait_for_state("live")
    browser.open(server.demo_url + "#transports=stream")
    assert server.service.gateway.stop() is None
    wait_until(lambda: "the web server answers 50" in browser.status_text, "it says who is missing", SHOW_LIMIT_S)


def test_a_page_that_missed_what_is_no_longer_kept_says_so(server, browser):
    assert server.api.register("demo").status == 200
    browser.open(server.demo_url + "#transports=websocket")
    browser.wait_for_state("live")
    assert server.service.gateway.stop() is None
    browser.wait_for_state("waiting")
    for payload in range(3):
        server.api.publish("demo", payload)
    sqlite.change(server.service.database, "DELETE FROM events WHERE id < (SELECT max(id) FROM events)")
    server.service.start_gateway()
    browser.wait_for_state("live")
    assert "may have been missed" in browser.text


def test_the_commands_on_the_page_publish_to_it(server, browser):
    topic = "o'clock & more"
    browser.open(f"{server.plain_url}/worker-demo?topic={quote(topic, safe='')}")
    shown = browser.driver.find_element(By.ID, "commands").get_attribute("textContent")
    commands = shown.replace("sudo ", "").replace("/etc/wavelog-worker/config.yaml", str(server.service.config_file))
    done = subprocess.run(["/bin/sh", "-e", "-c", commands], capture_output=True, text=True)
    assert done.returncode == 0 and '{"id":' in done.stdout, done
    browser.wait_for_state("live")
    subprocess.run(["/bin/sh", "-e", "-c", commands], check=True, capture_output=True)
    browser.wait_for_push('{"hello":"world"}')
