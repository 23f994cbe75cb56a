"""One publish to many subscribers: what a delivery costs, when the last one is served, and what becomes of all that when
publishes come faster than they can be sent."""

import time
from contextlib import ExitStack

from .contenders import BareLoop, Nchan, Streams, Worker
from .load import ALL, LOAD_CORES, Load, usage
from .report import Row

LARGE = 16 * 1024
WARM_UP = 3
READY_S = 0.1  # until the load generator has read its command
PUBLISHERS = 8
BURST_BARS = {100: "<= 0.45", 1000: "<= 0.25"}  # by the number of subscribers


def _crowds(bench, stack, subscribers, *makes, cores=LOAD_CORES):
    """All contenders beside one another, each with as many subscribers to its topic "fan"."""
    crowds = []
    for contender in bench.start(stack, *makes):
        load = stack.enter_context(Load(cores))
        contender.register("fan")
        load.connect(contender, "fan", "fan", subscribers)
        contender.settle(subscribers)
        stack.callback(load.drop, "fan")
        crowds.append((contender, load))
    return crowds


def publish(bench, crowd, key, publishes, publisher=None, **options):
    """Publishes, and notes the microseconds of processor time a delivery: of all that serves, and of the gateway
    alone. `publisher`: another node, which the publishes go to."""
    contender, load = crowd
    before, alone_before = usage(contender.pids), usage(contender.gateway_pids)
    result = load.publish(publisher or contender, "fan", "fan", publishes, **options)
    used, alone = usage(contender.pids) - before, usage(contender.gateway_pids) - alone_before
    bench.add(key, used.cpu_us / result["deliveries"]["count"])
    bench.add(f"{key} alone", alone.cpu_us / result["deliveries"]["count"])
    return result


def _key(subscribers, size, contender, awake=1):
    return f"fan {subscribers} {size} {contender.name}{'' if awake else ' asleep'}"


def fan_out(bench):
    for subscribers, _ in bench.scale.fan:
        for size in (150, LARGE):
            what = f"CPU a delivery, {subscribers:,} subscribers, {size:,} bytes"
            ours, bare, nchan = (_key(subscribers, size, contender) for contender in (Worker, BareLoop, Nchan))
            bench.rows(
                Row(f"{what}, against the bare loop", "µs", ours, bare, "<= 1.15"),
                Row("(the gateway alone)", "µs", f"{ours} alone", bare),
                Row("(to streams)", "µs", _key(subscribers, size, Streams), bare, "<= 1.2"),
                Row("(readers that sleep in between)", "µs", f"{ours} asleep", f"{bare} asleep"),
                Row(f"{what}, against nginx + nchan", "µs", ours, nchan, "< 1"),
            )
    for _ in bench.each_round():
        for subscribers, publishes in bench.scale.fan:
            _fan_out(bench, subscribers, publishes)


def _fan_out(bench, subscribers, publishes):
    """Readers stay awake: who sends would be charged for waking them, which a server whose readers are on other machines
    is not."""
    with ExitStack() as stack:
        ours, streams, bare, *nchan = _crowds(bench, stack, subscribers, Worker, Streams, BareLoop, Nchan)
        sides = ((150, 1, (ours, streams, bare, *nchan)), (150, 0, (ours, bare)), (LARGE, 1, (ours, streams, bare)))
        for size, awake, crowds in sides:
            for _ in bench.each_slice():
                for contender, load in crowds:
                    options = {"size": size, "until_delivered": 1, "awake": awake}
                    load.publish(contender, "fan", "fan", WARM_UP, **options)
                    key = _key(subscribers, size, contender, awake)
                    publish(bench, (contender, load), key, publishes, **options)


def last_subscriber(bench):
    subscribers, publishes = bench.scale.last
    what, ours = f"publish to the last of {subscribers:,} subscribers", f"last {Worker.name}"
    bench.rows(
        Row(f"{what}, against the bare loop", "ms", ours, f"last {BareLoop.name}", "<= 1.25"),
        Row("(against nginx + nchan)", "ms", ours, f"last {Nchan.name}"),
    )
    for _ in bench.each_round():
        with ExitStack() as stack:
            crowds = _crowds(bench, stack, subscribers, Worker, BareLoop, Nchan)
            for _ in bench.each_slice():
                for contender, load in crowds:
                    load.publish(contender, "fan", "fan", 1, until_delivered=1)  # to warm up
                    result = load.publish(contender, "fan", "fan", publishes, until_delivered=1)
                    bench.add(f"last {contender.name}", result["seconds"] * 1000 / publishes)


def gateway_processes(bench):
    """What a delivery costs when several processes share the port, against one."""
    (subscribers, publishes), several = bench.scale.fan[-1], bench.scale.gateway_processes
    bench.rows(
        Row(f"CPU a delivery, {several} gateway processes, {subscribers:,} subscribers, against one", "µs",
            f"processes {several} alone", "processes 1 alone", "<= 1.05"),
    )  # fmt: skip
    for _ in bench.each_round():
        with ExitStack() as stack:
            makes = [lambda count=count: Worker(gateway_processes=count) for count in (1, several)]
            crowds = _crowds(bench, stack, subscribers, *makes)
            for _ in bench.each_slice():
                for (contender, load), count in zip(crowds, (1, several)):
                    load.publish(contender, "fan", "fan", WARM_UP, until_delivered=1, awake=1)
                    publish(bench, (contender, load), f"processes {count}", publishes, until_delivered=1, awake=1)


def burst(bench):
    """Publishers at full speed: they are not slowed down by those who listen, so the gateway must get cheaper when it is
    behind. In the bare loop they are: a publisher's next request waits until the push before is sent to everybody. It
    is given fewer publishes, for about as long."""
    for subscribers, _, _ in bench.scale.burst:
        what = f"{PUBLISHERS} publishers at full speed, {subscribers:,} subscribers of one topic"
        ours, bare = f"burst {subscribers} ours", f"burst {subscribers} bare"
        bench.rows(
            Row(f"{what}: CPU of the gateway a delivery, against the bare loop, which sends each push alone", "µs",
                f"{ours} alone", bare, BURST_BARS.get(subscribers)),
            Row("(with the API)", "µs", ours, bare),
            Row(f"{what}: publish to delivery, 99th percentile, against the bare loop, whose publishers wait for it",
                "ms", f"{ours} p99", f"{bare} p99", "<= 5", enough=50),
            Row("(median)", "ms", f"{ours} p50", f"{bare} p50"),
            Row("(publishes a second meanwhile)", "1/s", f"{ours} rate", f"{bare} rate"),
            Row("(pushes that slow readers lost, of a million)", "", f"{ours} lost"),
        )  # fmt: skip
    for _ in bench.each_round():
        for subscribers, *counts in bench.scale.burst:
            with ExitStack() as stack:
                crowds = _crowds(bench, stack, subscribers, lambda: Worker(cores=ALL), lambda: BareLoop(ALL), cores=ALL)
                for (contender, load), count in zip(crowds, counts):  # to warm up
                    load.publish(contender, "fan", "fan", count // 10, may_lose=True, publishers=PUBLISHERS)
                for _ in range(bench.scale.burst_slices):
                    for crowd, name, count in zip(crowds, ("ours", "bare"), counts):
                        _burst(bench, crowd, f"burst {subscribers} {name}", count)


def _burst(bench, crowd, key, count):
    result = publish(bench, crowd, key, count, may_lose=True, publishers=PUBLISHERS)
    deliveries = result["deliveries"]
    bench.add(f"{key} p99", deliveries["p99"] / 1000)
    bench.add(f"{key} p50", deliveries["p50"] / 1000)
    bench.add(f"{key} rate", result["sent"] / result["answered_seconds"])
    bench.add(f"{key} lost", 1e6 * result["missed"] / (result["missed"] + deliveries["count"]))


def newcomers(bench):
    """Who comes while a crowd is served, and asks how the service is."""
    subscribers, pushes, seconds = bench.scale.crowd
    what = f"{subscribers:,} subscribers, {pushes} pushes in {seconds} s"
    bench.rows(
        Row(f"{what}: a newcomer on another topic, until auth_ok, the slowest of a round", "ms", "newcomer", None,
            "<= 250"),
        Row("(newcomers of a round)", "", "newcomers"),
        Row("(what the publishes took)", "s", "crowd published"),
        Row("(until everybody had all of them)", "s", "crowd delivered"),
        Row(f"{what}: answers to status that are not 200, in all rounds", "", "crowd refused", None, "<= 0", figure=sum),
        Row("(questions of a round)", "", "crowd questions"),
        Row("(the slowest answer)", "ms", "crowd status"),
    )  # fmt: skip
    with ExitStack() as stack:
        (worker, readers), = _crowds(bench, stack, subscribers, Worker)
        # In processes of their own: what is read must not hold up what is published.
        publishers, newcomer, asker = (stack.enter_context(Load()) for _ in range(3))
        worker.register("other")
        for _ in bench.each_round():
            readers.begin_publish(worker, "fan", "fan", pushes, publishers=0)
            time.sleep(READY_S)
            publishers.begin_publish(worker, "fan", None, pushes, publishers=PUBLISHERS, rate=round(pushes / seconds))
            _come_and_ask(bench, worker, readers, newcomer, asker)
            bench.add("crowd delivered", readers.end_publish(worker, is_published=False)["seconds"] - READY_S)
            bench.add("crowd published", publishers.end_publish(worker)["answered_seconds"])
            worker.settle(subscribers)


def _come_and_ask(bench, worker, load, newcomer, asker):
    """Newcomers one after the other, and questions meanwhile, while `load` is at work."""
    newcomers_ms, answers_ms, refused, is_over = [], [], 0, False
    newcomer.begin_connect(worker, "newcomer", "other", 1)
    while not is_over:
        asker.begin_ask(worker, "status")
        answer = asker.end()
        answers_ms.append(answer["answers"]["max"] / 1000)
        refused += answer["statuses"].get("200") != 1
        is_over = load.has_ended()
        if newcomer.has_ended() or is_over:
            newcomers_ms.append(newcomer.end()["seconds"] * 1000)
            newcomer.drop("newcomer")
            if not is_over:
                newcomer.begin_connect(worker, "newcomer", "other", 1)
        time.sleep(0.02)
    bench.add("newcomers", len(newcomers_ms))
    bench.add("newcomer", max(newcomers_ms))
    bench.add("crowd questions", len(answers_ms))
    bench.add("crowd status", max(answers_ms))
    bench.add("crowd refused", refused)
