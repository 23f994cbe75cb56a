"""The commands of the documentation, run word for word: each `sh` block of each page is in one of the walks below, or in
NOT_RUN with the reason. A walk is what a reader would do, from top to bottom, in a sandbox of its own."""

import re
from typing import NamedTuple

import pytest

from harness import hosting, sandbox
from harness.pages import Block, blocks

LANGUAGES = {"", "sh", "crontab", "ini", "php", "js", "html", "yaml"}

# (page, first line of the block): why no walk has it
NOT_RUN = {
    ("README.md", "make test"): "it is what runs this",
    ("README.md", "examples/hosting/install.sh --web-root ~/www --url https://www.example.org"):
        "its page, docs/shared-hosting.md, is in a walk",
    ("docs/clients.md", """curl -N -d '{"type":"auth","last_event_id":null}' 'https://worker.example.org/worker/stream?topic=demo'"""):
        "it goes on until somebody ends it",
    ("docs/operating.md", 'sqlite3 /var/lib/wavelog-worker/worker.db "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM"'):
        "for databases that an older version has made",
    ("api/README.md", "build/wavelog-worker-api -c config.yaml --listen unix:/tmp/api.sock &"):
        "cgi-fcgi is in a package that nothing else needs",
    ("docs/operating.md", "sudo apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static"):
        "it takes minutes, and a compiler for another processor",
}  # fmt: skip


class Read(NamedTuple):
    """The blocks below a heading, and what they must say."""

    page: str
    heading: str
    says: tuple = ()
    account: str = ""  # whose shell or crontab it is; "": that of root

    def blocks(self):
        return [block for block in blocks(self.page, self.heading) if block.language in ("sh", "crontab")]


class Do(NamedTuple):
    """What the reader is told to do in words."""

    text: str
    says: tuple = ()


UP = '"status":"ok"'
NGINX_CHECK = Read("docs/install-nginx.md", "5. Check it", (UP, "upgrade required"))
APACHE_CHECK = Read("docs/install-apache.md", "5. Check it", (UP, "upgrade required: Sec-WebSocket-Version 13"))
NEW_SECRET = """
sed -i 's/^worker_secret:/worker_secret_previous:/' /etc/wavelog-worker/config.yaml
printf 'worker_secret: "%s"\\n' "$(openssl rand -hex 32)" >>/etc/wavelog-worker/config.yaml
"""
APACHE_IN_FRONT_OF_AN_ACCOUNT = rf"""
a2enmod -q ssl headers proxy proxy_http proxy_wstunnel fcgid rewrite
sed -i 's/APACHE_RUN_USER=.*/APACHE_RUN_USER=me/; s/APACHE_RUN_GROUP=.*/APACHE_RUN_GROUP=me/' /etc/apache2/envvars
tee /etc/apache2/sites-available/host.conf <<'END'
{hosting.site()}END
a2ensite -q host
chown -R me: /var/lib/apache2
apachectl start
"""
A_PUSH = """
PYTHONPATH=/home/me/wavelog-worker/tests/e2e /usr/bin/python3 -B - "$(sed -n 's/^worker_secret: "\\(.*\\)"/\\1/p' /etc/wavelog-worker/config.yaml)" <<'END'
import ssl, sys
from harness.api import InternalApi
from harness.websocket import Subscriber
trust = ssl.create_default_context(cafile="/etc/ssl/certs/worker.example.org.pem")
with Subscriber("wss://worker.example.org/worker/ws", "demo", tls=trust) as browser:
    print(browser.authenticate())
    InternalApi("http://127.0.0.1:9001", sys.argv[1]).publish("demo", {"hello": "world"})
    print(browser.receive())
END
"""
POLLED = Read("docs/clients.md", "Polling", (r'"recovered":true,"pushes":\[\]\}',))
PUSHED = Do(A_PUSH, ('"auth_ok"', r'\{"type":"push","payload":\{"hello": ?"world"\}\}'))
MAKE_RUN = """
make run >/tmp/run.out 2>&1 &
for i in $(seq 600); do
	grep -q '^Ctrl-C' /tmp/run.out && break
	sleep 0.2
done
cat /tmp/run.out
curl -sS -o /dev/null -w 'demo page %{http_code}\\n' "$(sed -n 's/^ *demo page *//p' /tmp/run.out)"
eval "$(sed -n 's/^ *publish *//p' /tmp/run.out)"
echo
eval "$(sed -n 's/^ *database *//p' /tmp/run.out) 'SELECT kind, topic FROM event_overview'"
kill -TERM $!
wait $! || true
"""

WALKS = {
    "try it": [Do(MAKE_RUN, ("made /home/me/wavelog-worker/run/config.yaml", "demo page 200", r'\{"id":\d+\}', r"push\|demo"))],
    "try it, as a plain user": [
        Do(f"cat >/tmp/step <<'END_OF_STEP'\n{MAKE_RUN}END_OF_STEP\n"
           "runuser -u me -- env PATH=/usr/local/bin:/usr/bin:/bin:/usr/games /bin/sh -eu /tmp/step",
           ("made /home/me/wavelog-worker/run/config.yaml", "demo page 200", r'\{"id":\d+\}', r"push\|demo")),
    ],
    "nginx, quick start, then everyday work": [
        Do("nginx"),  # as Debian starts it
        Read("README.md", "Behind nginx", ("syntax is ok",)),
        NGINX_CHECK,
        PUSHED,
        POLLED,
        Read("docs/operating.md", "Restarts and upgrades"),
        NGINX_CHECK,
        Do("ask() { sed -n 's/^worker_secret: .\\(.*\\).$/X-Worker-Secret: \\1/p' /etc/wavelog-worker/config.yaml"
           " | curl -sS -H @- \"$@\"; }"),
        Do(NEW_SECRET),
        Read("docs/operating.md", "Changing the secret"),
        Do("sleep 1; ask http://127.0.0.1:9001/internal/status", (UP,)),
        Read("sql/README.md", "Writing by hand"),
        Do("ask 'http://127.0.0.1:9001/internal/status?topics=1'", (r'"topic_list":\["worker.status"\]',)),
        Do("journalctl", ('msg="listening"', 'msg="draining"', 'msg="configuration read again"')),
    ],
    "nginx, step by step, without systemd": [
        Read("docs/install-nginx.md", "1. Build and install"),
        Read("docs/install-nginx.md", "2. User and configuration", (r"worker_secret: \(hidden\)", "yaml: ok")),
        Do("nginx"),
        Read("docs/install-nginx.md", "4. nginx"),
        Read("docs/install-nginx.md", "Without systemd"),
        Read("docs/operating.md", "Without systemd", account="wavelog-worker"),
        NGINX_CHECK,
    ],
    "nginx, step by step": [
        Read("docs/install-nginx.md", "1. Build and install"),
        Read("docs/install-nginx.md", "2. User and configuration"),
        Read("docs/install-nginx.md", "3. The programs", ('msg="listening"',)),
        Do("nginx"),
        Read("docs/install-nginx.md", "4. nginx"),
        NGINX_CHECK,
        Do("ip address add 10.0.0.11/24 dev lo"),
        Read("docs/cluster.md", "A load balancer"),
        Do("wavelog-worker-gateway --check-config; nginx -t && nginx -s reload; sleep 1\n"
           "curl -sS http://10.0.0.11:9002/worker/readyz", ('trusted_proxies: "10.0.0.10"', "syntax is ok", r"\nok\n")),
    ],
    "apache, quick start": [
        Read("README.md", "Behind Apache", ("Syntax OK",)),
        APACHE_CHECK,
        PUSHED,
        POLLED,
        Read("docs/install-apache.md", "More browsers", ("Syntax OK",)),
        APACHE_CHECK,
    ],
    "apache, step by step": [
        Read("docs/install-apache.md", "1. Build and install"),
        Read("docs/install-apache.md", "2. User and configuration", (r"worker_secret: \(hidden\)", "yaml: ok")),
        Read("docs/install-apache.md", "3. The programs", ('msg="listening"',)),
        Read("docs/install-apache.md", "4. Apache", ("Syntax OK",)),
        APACHE_CHECK,
        Read("docs/install-apache.md", "With mod_fcgid"),
        APACHE_CHECK,
    ],
    "shared hosting, one command": [
        Do(APACHE_IN_FRONT_OF_AN_ACCOUNT),
        Read("docs/shared-hosting.md", "One command", ("by FastCGI", "browsers use WebSockets"), account="me"),
        Read("docs/shared-hosting.md", "Check it", (UP, "upgrade required: Sec-WebSocket-Version 13"), account="me"),
    ],
    "shared hosting": [
        Do(APACHE_IN_FRONT_OF_AN_ACCOUNT),
        Read("docs/shared-hosting.md", "Setting it up", account="me"),
        Read("docs/shared-hosting.md", "Check it", (UP, "upgrade required: Sec-WebSocket-Version 13"), account="me"),
        Do("curl -sS https://www.example.org/worker/demo.html", ("<html",)),
        Do("curl -sS https://www.example.org/worker/client.js", ("WavelogWorker = ",)),
        Read("docs/shared-hosting.md", "Upgrading", account="me"),
        Do("sleep 3; cat /home/me/worker/state/gateway.log", ('msg="draining".* successor="yes"', 'msg="ended"')),
        Read("docs/shared-hosting.md", "Check it", (UP, "upgrade required: Sec-WebSocket-Version 13"), account="me"),
    ],
}  # fmt: skip

AT_THE_END = """
! grep -rlE 'AddressSanitizer|LeakSanitizer|runtime error' /var/log /var/lib/wavelog-worker /home/me/worker 2>/dev/null
"""


def crontab(block):
    """Starts what a line of a crontab says, as cron would, and waits until it listens."""
    command = block.text.split(None, 5)[5].strip()
    return (
        f"/bin/sh -c '{command}' &\n"
        "for i in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:9000/ && break; sleep 0.1; done\n"
    )


def script_of(step):
    if isinstance(step, Do):
        return step.text
    # What a list of && ends with is not looked at by -e.
    lines = [crontab(block) if block.language == "crontab" else block.text + "[ $? -eq 0 ]\n" for block in step.blocks()]
    text = "".join(lines)
    if not step.account:
        return text
    return f"cat >/tmp/step <<'END_OF_STEP'\n{text}END_OF_STEP\nrunuser -u {step.account} -- /bin/sh -eu /tmp/step"


def whole_script(walk):
    """Step after step in one shell, which remembers folders and functions. A mark begins the output of each."""
    steps = [f"printf '\\n@@ {number}\\n'\n{script_of(step)}\n" for number, step in enumerate(walk)]
    return sandbox.PREPARE + "".join(steps) + "printf '\\n@@ end\\n'\n" + AT_THE_END


@pytest.mark.parametrize("name", WALKS)
def test_the_commands_work_as_they_are_written(machine, name):
    code, output = sandbox.run(whole_script(WALKS[name]))
    assert code == 0, output
    said = re.split(r"^@@ \w+\n", output, flags=re.M)[1:]
    for step, text in zip(WALKS[name], said):
        for words in step.says:
            assert re.search(words, text), f"{words!r} is not said by {step}:\n{output}"


def test_every_command_is_in_a_walk_or_has_a_reason_why_not():
    walked = {block for walk in WALKS.values() for step in walk if isinstance(step, Read) for block in step.blocks()}
    walked |= {Block("README.md", "Two commands to try it", "sh", "make run\n")}
    assert all(step.blocks() for walk in WALKS.values() for step in walk if isinstance(step, Read))
    commands = {block for language in ("sh", "crontab") for block in blocks(language=language)}
    left = {(block.page, block.first_line) for block in commands - walked}
    assert left == set(NOT_RUN)
    assert walked <= commands


def test_every_block_says_what_language_it_is_in():
    assert {block.language for block in blocks()} <= LANGUAGES
