"""A headless Chromium on the demo page, with an empty profile and no connections of its own."""

import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By

from .process import wait_until

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync --ignore-certificate-errors"
).split()

SHOW_LIMIT_S = 20.0  # the page may be in its longest wait before it connects again


class Browser:
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
