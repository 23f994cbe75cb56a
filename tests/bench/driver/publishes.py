"""The way of a publish or a poll through the web server, against a bare FastCGI program in the place of the API. The
gateway runs and is tapped each time; whether it has somebody to deliver to makes rows of their own."""

from harness.api import make_token
from harness.process import wait_until
from harness.web_servers import Apache, Nginx

from .contenders import IN_MEMORY, Worker, disk
from .load import ALL, Failure, Load, usage
from .report import Row

PUBLISHERS = 8
CROWD = 64
RATE = 100
SLOW_SYNC_MS = 1  # what a disk takes that has no cache, or does not trust it
SYNC_MS = 2


def one_publisher(bench):
    for front in (Nginx, Apache):
        name = front.name
        bench.rows(
            Row(f"publish through {name}, one publisher, median, against the bare FastCGI program", "µs",
                f"{name} ours", f"{name} bare", "<= 1.35"),
            Row("(with a subscriber who gets it)", "µs", f"{name} subscriber", f"{name} bare"),
            Row("(99th percentile)", "µs", f"{name} ours p99", f"{name} bare p99"),
        )  # fmt: skip
        for _ in bench.each_round():
            with Worker(front) as ours, Worker(front, bare=True) as bare, Load() as load:
                ours.register("nobody", "pub")
                load.connect(ours, "pub", "pub", 1)
                _one_publisher(bench, load, name, ours, bare)
                load.drop("pub")


def _one_publisher(bench, load, name, ours, bare):
    count = bench.scale.publishes
    for worker in (ours, bare):
        load.publish(worker, "nobody", None, count)  # to warm up
    for _ in bench.each_slice():
        for worker, topic, groups, key in ((ours, "nobody", None, "ours"), (bare, "nobody", None, "bare"),
                                           (ours, "pub", "pub", "subscriber")):  # fmt: skip
            answers = load.publish(worker, topic, groups, count)["answers"]
            bench.add(f"{name} {key}", answers["p50"])
            bench.add(f"{name} {key} p99", answers["p99"])


def idle_poll(bench):
    bench.rows(
        Row("poll through nginx for which nothing is new, median, against the bare FastCGI program", "µs", "poll ours",
            "poll bare", "<= 1.3"),
        Row("(CPU of the API)", "µs", "poll ours CPU", "poll bare CPU"),
    )  # fmt: skip
    for _ in bench.each_round():
        with Worker(poll_rate=0) as ours, Worker(bare=True) as bare, Load() as load:
            ours.register("poll")
            token = make_token(ours.service.secret, "poll")
            position = ours.web.poll("poll", token=token).json["last_event_id"]
            before = f'{{"type":"auth","token":"{token}","last_event_id":{position},"more":'
            for number in range(bench.scale.slices + 1):
                for key, worker, status in (("ours", ours, "204"), ("bare", bare, "200")):
                    cpu_us = usage(worker.api_pids).cpu_us
                    load.begin("publish", path="/worker/poll?topic=poll", before=before, after="}", bytes=150,
                               count=bench.scale.publishes, **worker.asking)  # fmt: skip
                    result = load.end()
                    if list(result["statuses"]) != [status]:
                        raise Failure(f"polls were answered with {result['statuses']}")
                    if number > 0:  # the first one is to warm up
                        bench.add(f"poll {key}", result["answers"]["p50"])
                        bench.add(f"poll {key} CPU", (usage(worker.api_pids).cpu_us - cpu_us) / bench.scale.publishes)


def eight_publishers(bench):
    bench.rows(
        Row(f"publishes a second, {PUBLISHERS} publishers, 4 processes, against the bare program", "1/s", "eight ours",
            "eight bare", ">= 0.75"),
        Row("(with a subscriber for each publisher)", "1/s", "eight subscribers", "eight bare"),
        Row(f"{PUBLISHERS} publishers at full speed with subscribers: 99th percentile, against the median", "µs",
            "eight subscribers p99", "eight subscribers p50", "< 20"),
        Row(f"{PUBLISHERS} publishers at full speed: answers that are not 200, in all rounds", "", "eight refused",
            bar="<= 0", figure=sum),
    )  # fmt: skip
    groups = [f"pub{number}" for number in range(PUBLISHERS)]
    for _ in bench.each_round():
        with Worker(cores=ALL) as ours, Worker(bare=True, cores=ALL) as bare, Load(ALL) as load:
            ours.register("nobody", *groups)
            for group in groups:
                load.connect(ours, group, group, 1)
            _eight_publishers(bench, load, groups, ours, bare)
            for group in groups:
                load.drop(group)


def _eight_publishers(bench, load, groups, ours, bare):
    count, refused = bench.scale.publishes * PUBLISHERS, 0
    kinds = (("ours", ours, ("nobody", None), PUBLISHERS), ("bare", bare, ("nobody", None), PUBLISHERS),
             ("subscribers", ours, ("#", ",".join(groups)), 1))  # fmt: skip
    for _, worker, whom, publishers in kinds[:2]:
        load.publish(worker, *whom, count, publishers=publishers)  # to warm up
    for _ in bench.each_slice(2):
        for key, worker, whom, publishers in kinds:
            result = load.publish(worker, *whom, count, may_refuse=worker is ours, publishers=publishers)
            accepted = result["statuses"].get("200", 0)
            refused += result["sent"] - accepted
            bench.add(f"eight {key}", accepted / result["seconds"])
            bench.add(f"eight {key} p99", result["answers"]["p99"])
            bench.add(f"eight {key} p50", result["answers"]["p50"])
    bench.add("eight refused", refused)


def reloads(bench):
    """mod_proxy_fcgi: each process of Apache is a new one then."""
    what = f"{CROWD} publishes at once after a graceful reload of Apache"
    bench.rows(
        Row(f"{what}: the slowest of all reloads", "ms", "reload slowest", bar="<= 300", figure=max),
        Row("(the slowest of a reload)", "ms", "reload slowest"),
    )
    with Worker(Apache, cores=ALL) as ours, Load(ALL) as load:
        ours.register("nobody")
        for reload in range(1, 1 + bench.rounds_wanted * bench.scale.slices):
            ours.web.process.send(ours.web.reload_signal)
            wait_until(lambda: ours.web.log.read_text().count("resuming normal operations") > reload, "Apache has reloaded")
            answers = load.publish(ours, "nobody", None, CROWD, publishers=CROWD)["answers"]
            bench.add("reload slowest", answers["max"] / 1000)


def durable(bench):
    """What publishers gain by sharing the sync of a commit. A process of the API has one publish at a time in hand, so no
    more of them than there are processes can share one. On the machine's own disk, and on one whose syncs take as long as
    those of a disk without a protected cache: only where they take time, they are what publishers have to share."""
    kind, sync_ms = disk()
    is_slow = kind not in IN_MEMORY and sync_ms >= SLOW_SYNC_MS
    what = f"publishes a second with durability: full, {PUBLISHERS} publishers, against one, where a sync takes"
    bars = {"own": (f"{sync_ms:.2f} ms, on {kind}", ">= 3" if is_slow else None), "slowed": (f"{SYNC_MS} ms", ">= 3")}
    for key, (where, bar) in bars.items():
        bench.rows(
            Row(f"{what} {where}", "1/s", f"durable {key} 8", f"durable {key} 1", bar),
            Row("(99th percentile)", "ms", f"durable {key} 8 p99", f"durable {key} 1 p99"),
        )
        slowly = SYNC_MS if key == "slowed" else None
        options = {"on_disk": True, "processes": PUBLISHERS, "durability": "full"}
        with Worker(cores=ALL, sync_ms=slowly, **options) as worker, Load(ALL) as load:
            worker.register("nobody")
            for _ in range(bench.rounds_wanted * bench.scale.slices):
                for publishers in (PUBLISHERS, 1):
                    count = bench.scale.durable * publishers
                    result = load.publish(worker, "nobody", None, count, publishers=publishers)
                    bench.add(f"durable {key} {publishers}", result["sent"] / result["seconds"])
                    bench.add(f"durable {key} {publishers} p99", result["answers"]["p99"] / 1000)


def delivery(bench):
    what = f"publish through nginx to delivery, one subscriber, {RATE} a second"
    bench.rows(
        Row(f"{what}: 99th percentile, against the bare program's median round trip at that rate", "µs",
            "delivery p99", "round trip", "<= 3"),
        Row("(median)", "µs", "delivery", "round trip"),
        Row("(99th percentile, against the bare program's)", "µs", "delivery p99", "round trip p99"),
        Row("(99th percentile, against the bare round trip at full speed)", "µs", "delivery p99", "round trip busy"),
        Row("(99th percentile, the subscriber behind nginx too)", "µs", "delivery web p99", "round trip"),
    )  # fmt: skip
    count = bench.scale.paced // bench.scale.parts
    with Worker() as ours, Worker(bare=True) as bare, Load() as load:
        ours.register("one", "web")
        load.connect(ours, "one", "one", 1)
        load.connect(ours, "web", "web", 1, **ours.subscribing_through_the_web_server)
        sides = (("delivery", ours, "one", "one", "deliveries"), ("round trip", bare, "one", None, "answers"),
                 ("delivery web", ours, "web", "web", "deliveries"))  # fmt: skip
        for part in bench.each_part():
            for key, worker, topic, groups, what in bench.in_turn(sides, part):
                # The same before each: a virtual machine that has been idle sleeps deeper than one that has not.
                busy = load.publish(bare, "one", None, bench.scale.publishes)["answers"]["p50"]
                times = load.publish(worker, topic, groups, count, rate=RATE)[what]
                bench.add(key, times["p50"])
                bench.add(f"{key} p99", times["p99"])
            bench.add("round trip busy", busy)
        load.drop("one")
        load.drop("web")
