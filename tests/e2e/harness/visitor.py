"""A page in Chromium that stays open while its host changes: publishes numbers all the time, and says for each transport that
it is told on a line of its input when the page is live by that, and whether what was answered with 200 has come once and in
order. PAGE-URL is that of the demo page, if it is another; then it must show the pushes, too.

	python3 -B -m harness.visitor https://www.example.org/worker SECRET [API-URL PAGE-URL]"""

import http.client
import ssl
import sys
import threading

from harness.api import InternalApi
from harness.browser import Browser
from harness.process import wait_until

TOPIC, EVERY_S = "visitor", 0.05
GO = """
	window.seen = [];
	window.page = WavelogWorker.subscribe({
		url: arguments[0], topic: arguments[1], climbMs: 300, climbMaxMs: 400, retryMs: 100, retryMaxMs: 300, pollMs: 100, pollMaxMs: 200,
		onPush(payload) { seen.push(payload); },
		onGap() { seen.push('a gap'); },
	});
"""


class Visitor:
    def __init__(self, url, secret, api_url=None, page_url=None):
        trust = ssl.create_default_context(cafile="/etc/ssl/certs/worker.example.org.pem")
        self.api, self.sent, self.answered, self.is_over = InternalApi(api_url or url, secret, tls=trust), 0, [], threading.Event()
        assert self.api.register(TOPIC).status == 200
        self.browser = Browser()
        self.must_show = page_url is not None
        self.browser.open(f"{page_url}?topic={TOPIC}" if page_url else f"{url}/demo.html")
        self.browser.run(GO, url, TOPIC)
        self.is_live("websocket")
        threading.Thread(target=self.publish, daemon=True).start()

    def publish(self):
        """A number whose answer got lost may have been committed: none is sent twice."""
        while not self.is_over.wait(EVERY_S):
            self.sent += 1
            try:
                if self.api.publish(TOPIC, self.sent).status == 200:
                    self.answered.append(self.sent)
            except (OSError, http.client.HTTPException):
                pass

    def is_live(self, transport):
        self.browser.wait_for(f"page.state === 'live' && page.transport === '{transport}'", f"it is live by {transport}")

    def look(self, transport):
        self.is_live(transport)
        goal = len(self.answered) + 3
        wait_until(lambda: len(self.answered) >= goal, "publishes are answered")
        last = self.answered[-1]
        self.browser.wait_for(f"seen.at(-1) >= {last}", f"{last} has come")
        if self.must_show:
            self.browser.wait_for(f"document.querySelector('#pushes pre')?.textContent >= {last}", f"{last} is shown")
        seen = self.browser.run("return seen")
        is_good = all(isinstance(number, int) and number > before for number, before in zip(seen, [0, *seen]))
        lost = set(self.answered[: self.answered.index(last) + 1]) - set(seen)
        return f"{'once and in order' if is_good and not lost else f'BAD: {sorted(lost)} of {seen}'} by {transport}"


if __name__ == "__main__":
    visitor = Visitor(*sys.argv[1:])
    for line in sys.stdin:
        print(visitor.look(line.strip()), flush=True)
    visitor.is_over.set()
    print(f"{len(visitor.answered)} of {visitor.sent} publishes were answered")
    visitor.browser.close()
