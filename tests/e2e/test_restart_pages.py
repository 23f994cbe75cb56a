"""Restarts as Wavelog's pages live through them: each tries three times, a second apart, and is deaf from then on. However
the gateway is restarted, none of 60 may give up, behind nginx or Apache."""

import re
import time

import pytest

from harness.crowd import Crowd, Page
from harness.process import Process, accepts, log_tail, wait_until
from harness.service import REPO
from harness.web_servers import Apache, Nginx
from harness.websocket import authenticated
from test_restart import replace

PAGES = 60
UNIT = (REPO / "systemd/wavelog-worker-gateway.service").read_text()
RESTART_S = int(re.search(r"^RestartSec=(\d+)ms$", UNIT, re.M)[1]) / 1000


def start_as_systemd_does(service):
    """Again and again, after a pause, until it serves."""
    for number in range(50):
        time.sleep(RESTART_S)
        name = f"gateway-{number}"
        service.gateway = Process.start(
            name, [service.gateway_program, "-c", service.config_file], service.log_dir / f"{name}.log"
        )
        wait_until(lambda: not service.gateway.runs() or accepts(service.ws_address), "it serves, or ends")
        if service.gateway.runs():
            return
    raise AssertionError(f"it does not come up\n{log_tail(service.log_dir)}")


def restart(service):
    """systemctl restart"""
    assert service.gateway.stop() is None
    service.start_gateway()


def crash(service):
    service.gateway.kill()
    start_as_systemd_does(service)


def hand_over(service):
    assert replace(service).wait() == 0


@pytest.mark.parametrize("server", [Nginx, Apache], ids=["nginx", "apache"])
@pytest.mark.parametrize(
    ("processes", "how"),
    [(1, restart), (3, restart), (1, crash), (3, crash), (1, hand_over)],
    ids=["restart", "restart of 3", "crash", "crash of 3", "SIGUSR2"],
)
def test_no_page_gives_up(make_service, certificates, server, processes, how):
    service = make_service(gateway_processes=processes)
    service.start_gateway()
    if server is Nginx:
        service.start_api()
    front = server(service, certificates)
    front.api.register("t")
    with Crowd() as crowd, authenticated(service, "t"):  # and one that does not answer a Close
        pages = [
            crowd.add(Page(("127.0.0.1", front.plain_port), "t", "no", path=front.ws_path)) for _ in range(PAGES)
        ]
        crowd.wait_until_open()
        how(service)

        def settled():
            crowd.check()
            return all(page.is_deaf or len(page.starts) == 2 for page in pages)

        wait_until(settled, "each page comes back or gives up")
        assert not [page for page in pages if page.is_deaf], crowd.refusals()
        front.api.publish("t", "again")
        wait_until(lambda: all(len(page.keys) == 1 for page in pages), "each gets the next push")
