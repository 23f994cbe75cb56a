"""The demo page in Chromium, over https and wss, through each web server."""

import tempfile
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By

from harness.api import make_token
from harness.process import wait_until
from harness.web_servers import Apache, Nginx

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync --ignore-certificate-errors"
).split()

SHOW_LIMIT_S = 20.0  # the page may be in its longest wait before it connects again


class Browser:
    """A headless Chromium with an empty profile and no connections of its own."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="wlw-chromium-", ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*FLAGS, f"--user-data-dir={self.profile.name}"):
            options.add_argument(flag)
        self.driver = webdriver.Chrome(service=Driver("/usr/bin/chromedriver"), options=options)

    def open(self, url):
        self.driver.get("about:blank")  # so that a change after # loads the page anew
        self.driver.get(url)

    @property
    def state(self):
        """connecting, live, waiting or refused."""
        return self.driver.find_element(By.TAG_NAME, "body").get_attribute("data-state")

    @property
    def status_text(self):
        return self.driver.find_element(By.CSS_SELECTOR, "[role=status]").text

    @property
    def pushes(self):
        """The payloads shown, newest first."""
        return self.driver.execute_script("return Array.from(document.querySelectorAll('#pushes pre'), e => e.textContent)")

    def wait_for_state(self, state):
        wait_until(lambda: self.state == state, f"the page is {state}", SHOW_LIMIT_S)

    def wait_for_push(self, payload):
        wait_until(lambda: self.pushes[:1] == [payload], f"the page shows {payload} first", SHOW_LIMIT_S)

    def close(self):
        self.driver.quit()
        self.profile.cleanup()


@pytest.fixture(params=[Nginx, Apache], ids=["nginx", "apache"])
def server(request, make_service, certificates):
    service = make_service()
    service.start_gateway()
    if request.param is Nginx:
        service.start_api()
    return request.param(service, certificates)


@pytest.fixture
def browser(server):
    """Closed before the server, because Apache gives open connections 10 s when it ends."""
    browser = Browser()
    yield browser
    browser.close()


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
