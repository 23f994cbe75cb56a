"""What the documentation and the sample configuration say is what the programs do: keys, defaults, log lines, links,
queries, units. The commands are in test_documentation_commands.py."""

import contextlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from harness.api import make_token
from harness.pages import PAGES, blocks, read, section, without_code
from harness.process import wait_until
from harness.redis_server import Redis
from harness.service import BUILD, REPO, copy_with
from harness.web_servers import Nginx

NO_DEFAULT = "worker_secret"
EMPTY = {"empty": ""}  # what the documentation calls a default that is an empty text
SAME_LENGTH = {"24h": "24h0m0s", "1h": "1h0m0s"}  # as people write it, and as --check-config does
FRONT_DOOR_LINES = 250


@pytest.fixture
def in_use(tmp_path):
    """Every key and its default, in the words of --check-config, of a file that has nothing but the secret."""
    file = tmp_path / "minimal.yaml"
    file.write_text('worker_secret: "0123456789abcdef0123456789abcdef"\n')
    command = [BUILD / "wavelog-worker-api", "-c", file, "--check-config"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    return {name: value.strip('"') for name, value in re.findall(r"^(?:# )?(\w+): (.*)$", text, re.M)}


def documented_defaults():
    """From the table of keys; a row may hold several keys and as many defaults."""
    table = read("docs/configuration.md").split("\n## ")[0]
    defaults = {}
    for names, values in re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", table, re.M):
        values = [EMPTY.get(value, value.strip("`").strip('"')) for value in values.split(", ")]
        defaults.update(zip(re.findall(r"`([a-z_]+)`", names), values, strict=True))
    return defaults


def test_the_documentation_names_every_key_with_its_default(in_use):
    documented = documented_defaults()
    assert set(documented) == set(in_use)
    wrong = {
        name: (documented[name], value)
        for name, value in in_use.items()
        if name != NO_DEFAULT and SAME_LENGTH.get(documented[name], documented[name]) != value
    }
    assert wrong == {}


def test_the_sample_configuration_has_every_key(in_use):
    assert set(re.findall(r"^#([a-z_]+):", read("config.sample.yaml"), re.M)) == set(in_use)


OTHER_VALUES = {"WORKER_WS_PORT": "1234", "WORKER_INTERNAL_PORT": "1234", "WORKER_TOPIC_TTL": "2h",
                "WORKER_REDIS_URL": "unix:/r"}


def test_the_documentation_names_every_variable_of_the_environment_and_its_key(tmp_path):
    rows = re.findall(r"^\| `(WORKER_\w+)` \| `(\w+)` \|", section("docs/configuration.md", "Environment"), re.M)
    keys = read("shared/config/config_keys.c")
    assert {name for name, _ in rows} == set(re.findall(r'"(WORKER_\w+)"', keys))
    variables = {name: OTHER_VALUES.get(name, "127.0.0.7") for name, _ in rows} | {"WORKER_SECRET": "s" * 32}
    command = [BUILD / "wavelog-worker-api", "--check-config"]
    in_use = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True).stdout
    for name, key in rows:
        assert re.search(rf"^(# )?{key}: .*# from {name}$", in_use, re.M), (name, in_use)


CONSTANT = r'(?:[A-Z_]+ )?"([^"]+)"'
LOGGED = (
    r"log_event\(\s*[^,\"]*,\s*" + CONSTANT,
    r"write_line\([A-Z_]+, " + CONSTANT,
    r"log_repeat_ends\([^;\"]*,\s*" + CONSTANT,
    r"\.message =\s*" + CONSTANT,
    r"return fail\w*\((?:\w+, )?" + CONSTANT,
)


def sources():
    """The C sources, with the names of strings replaced by what they say, and adjoining strings joined."""
    paths = [path for top in ("api", "gateway", "shared") for path in sorted((REPO / top).rglob("*.[ch]"))]
    text = "\n".join(path.read_text() for path in paths if path.parent.name != "json")  # whose faults are answers
    names = dict(re.findall(r'#define (\w+) +("[^"]*")', text))
    text = re.sub(r"\b[A-Z]\w+", lambda name: names.get(name[0], name[0]), text)
    return re.sub(r'"\s*"', "", text)


def logged_messages():
    """The constant sentences of the log; of one that begins with a name, the rest."""
    return {text.strip() for call in LOGGED for text in re.findall(call, sources())}


def explained_messages():
    table = re.findall(r"^\| (?:both|api|gateway) \| (`.*?`) \| ", section("docs/operating.md", "The log"), re.M)
    return [text for row in table for text in re.findall(r"`([^`]+)`", row)]


def test_the_documentation_explains_every_log_line():
    explained, messages = explained_messages(), logged_messages()
    assert len(messages) > 20, "the sources are not read any more"
    assert [text for text in sorted(messages) if not any(name.endswith(text) for name in explained)] == []


def test_the_documentation_explains_no_log_line_that_is_gone():
    assert [text for text in explained_messages() if text not in sources()] == []


def headings(text):
    """Anchors as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", without_code(text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=[str(page.relative_to(REPO)) for page in PAGES])
def test_links_lead_somewhere(path):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in headings(Path(target).read_text())):
            broken.append(link)
    assert broken == []


def test_the_front_door_is_short_and_leads_to_every_page():
    front_door = read("README.md")
    assert len(front_door.splitlines()) <= FRONT_DOOR_LINES
    assert [page.name for page in PAGES if page.parent.name == "docs" and f"docs/{page.name}" not in front_door] == []


def test_the_rooms_of_the_front_door_are_there():
    rooms = re.findall(r"`((?:gateway/)?\w+/)`", section("README.md", "Finding your way in the code"))
    there = {f"{path.relative_to(REPO)}/" for path in REPO.glob("gateway/*") if path.is_dir()}
    assert {room for room in rooms if room.startswith("gateway/") and room != "gateway/"} == there
    for path in (REPO / "shared").glob("*/"):
        assert f"{path.name}/" in rooms


@pytest.mark.parametrize("top", ["api", "gateway", "shared"])
def test_the_plan_of_a_program_names_its_modules_and_no_others(top):
    if top == "shared":
        table = re.findall(r"^\| `\w+/` \| (.*) \|$", read("shared/README.md"), re.M)
        named = {name.removesuffix(".h") for row in table for name in re.findall(r"`([\w.]+)`", row)}
    else:
        plan = blocks(f"{top}/README.md", language="")[0]
        named = set(re.findall(r"^ *(\w+) ", plan.text, re.M))
    sources = {path.stem for path in (REPO / top).rglob("*.c")}
    assert sources - named == set()
    assert named - {path.stem for path in (REPO / top).rglob("*.[ch]")} == set()


QUERY = re.compile(r'^(?:sqlite> (.*)|\$ db "(.*)")\n((?:(?!sqlite>|\$|```).+\n)?)', re.M)
QUERIES = {match[1] or match[2]: match[3] for block in blocks(language="") for match in QUERY.finditer(block.text)}


def test_the_queries_work_and_have_the_columns_that_are_shown(make_service):
    service = make_service()
    service.start_gateway()
    assert len(QUERIES) > 10, "the pages are not read any more"
    for query, columns in QUERIES.items():
        # Rows that are not there are shown without columns: so one is added.
        command = ["sqlite3", "-readonly", "-header", "-list", "-separator", " ", service.database]
        query = query.rstrip(";")
        rows = subprocess.run([*command, query], capture_output=True, text=True)
        assert (rows.returncode, rows.stderr) == (0, ""), query
        if rows.stdout:
            assert rows.stdout.splitlines()[0].split() == columns.split(), query


def test_nobody_is_told_to_put_the_secret_on_a_command_line():
    """Where everybody on the machine sees it: it comes from a file."""
    files = [*PAGES, REPO / "nginx/run-site.sh", REPO / "nginx/demo.html", *REPO.glob("examples/hosting/*.sh")]
    header = re.compile(r"(-H|--header)[ =]*\S?(X-Worker-Secret|Authorization)", re.I)
    assert [path for path in files if header.search(path.read_text())] == []


def test_supervisor_starts_what_systemd_starts():
    (supervisor,) = blocks("docs/operating.md", language="ini")
    command = re.search(r"^command=(.*)$", supervisor.text, re.M)[1]
    assert f"\nExecStart={command}\n" in read("systemd/wavelog-worker-gateway.service")


def test_the_token_that_php_makes_is_one(tmp_path):
    (function,) = [block.text for block in blocks("docs/clients.md", "Tokens", "php")]
    script = tmp_path / "token.php"
    script.write_text(f"<?php\n{function}\necho worker_token('a secret', 'a topic', 7, 60), ' ', time() + 60;")
    token, expires = subprocess.run(["php", script], capture_output=True, text=True, check=True).stdout.split()

    def claims(text):
        return bytes.fromhex(text.split(".")[0]).replace(b" ", b"")

    ours = make_token("a secret", "a topic", 7, int(expires))
    assert claims(token) == claims(ours).replace(b"atopic", b"a topic").replace(b" ", b"")


class Balancer(Nginx):
    """The site file for a load balancer, before two nodes."""

    def __init__(self, nodes, certificates):
        self.nodes, self.name = nodes, "balancer"
        super().__init__(nodes[0].service, certificates)

    def write_files(self):
        super().write_files()
        a, b = (f"server 127.0.0.1:{node.plain_port}" for node in self.nodes)
        copy_with("nginx/load-balancer.conf", self.dir / "site.conf", {
            "server 10.0.0.11:9002": a, "server 10.0.0.12:9002": b,
            "listen 443 ssl;": f"listen 127.0.0.1:{self.tls_port} ssl;",
            "listen [::]:443 ssl;": "# no IPv6 here",
            "listen 127.0.0.1:9001;": f"listen 127.0.0.1:{self.plain_port};",
            "/etc/ssl/certs/worker.example.org.pem": str(self.dir / "localhost.pem"),
            "/etc/ssl/private/worker.example.org.key": str(self.dir / "localhost.key"),
        })  # fmt: skip


SELDOM = {"ping", "select", "xtrim", "xinfo|stream", "sismember"}  # not in every life of so short a cluster
OURS = {"acl|log", "acl|setuser", "config|resetstat", "info"}  # what this test says itself


@pytest.fixture
def redis():
    server = Redis()
    yield server
    assert server.close() == []


def test_two_nodes_behind_the_load_balancer_need_no_more_of_redis_than_is_written(make_cluster, redis, certificates):
    (rule,) = [block.text for block in blocks("docs/cluster.md", language="") if block.text.startswith("ACL SETUSER")]
    words = rule.replace("PASSWORD", "a-secret").split()
    assert redis.client.execute_command(*words) == b"OK"
    redis.client.config_resetstat()
    cluster = make_cluster(2, redis=redis, redis_url=redis.url_of("wavelog", "a-secret"))
    balancer = Balancer(cluster.nodes, certificates)
    assert balancer.api.register("t", require_token=False).status == 200
    cluster.wait_until_known("t")
    first, second = cluster.nodes
    with contextlib.ExitStack() as stack:
        browsers = [stack.enter_context(balancer.subscribe("t")) for _ in range(4)]
        for browser in browsers:
            assert json.loads(browser.authenticate(last_event_id=None))["recovered"] is True
        for node in cluster.nodes:
            wait_until(lambda: node.api.status().json["connected_sockets"] > 0, "each node has browsers")
        for number in range(20):
            assert balancer.api.publish("t", number).status == 200
        for browser in browsers:
            assert [json.loads(browser.receive())["payload"] for _ in range(20)] == list(range(20))
    first.service.closers.remove(first.close)
    assert first.close() == []
    assert balancer.api.publish("t", 20).status == 200  # by the other node
    with balancer.subscribe("t") as newcomer:
        assert newcomer.authenticate() == '{"type":"auth_ok"}'
    assert balancer.api.unregister("t").status == 200
    assert second.service.gateway.stop() is None
    assert redis.client.acl_log() == []
    allowed = {word[1:] for word in words if word.startswith("+")}
    used = {name.removeprefix("cmdstat_") for name in redis.client.info("commandstats")}
    assert used - allowed - OURS == set()
    assert allowed - used - SELDOM == set()
