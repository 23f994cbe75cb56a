"""One publish to many subscribers: what a delivery costs, and when the last one is served."""

from contextlib import ExitStack

from . import machine
from .contenders import BareLoop, Nchan, Worker
from .report import Row

LARGE = 16 * 1024
WARM_UP = 5


def crowds_of(bench, stack, makes, subscribers, cores=machine.LOAD):
    """All contenders beside one another, each with as many subscribers to its topic "fan"."""
    crowds = []
    for make in makes:
        contender, load = stack.enter_context(make()), stack.enter_context(bench.load(cores))
        contender.register("fan", token=True)
        load.connect(contender, "fan", "fan", subscribers)
        contender.settle(load, subscribers)
        stack.callback(load.drop, "fan")
        crowds.append((contender, load))
    return crowds


def _cost(bench, crowd, key, deliveries, publishes, size=150, awake=1):
    """Microseconds of processor time a delivery: of all that serves, and of the gateway alone. Readers stay awake: who
    sends would be charged for waking them, which a server whose readers are on other machines is not."""
    contender, load = crowd
    options = {"size": size, "until": "delivered", "awake": awake}
    load.publish(contender, "fan", "fan", WARM_UP, **options)
    before, alone_before = load.usage(contender.pids), load.usage(contender.gateway_pids)
    load.publish(contender, "fan", "fan", publishes, **options)
    used, alone = load.usage(contender.pids) - before, load.usage(contender.gateway_pids) - alone_before
    bench.report.add(key, used.cpu_us / deliveries)
    bench.report.add(f"{key} alone", alone.cpu_us / deliveries)


def _fan_out(bench, subscribers, publishes):
    with ExitStack() as stack:
        ours, bare, *nchan = crowds_of(bench, stack, bench.contenders(Worker, BareLoop, Nchan), subscribers)
        for size, awake, crowds in ((150, 1, (ours, bare, *nchan)), (150, 0, (ours, bare)), (LARGE, 1, (ours, bare))):
            for _ in bench.each_slice():
                for crowd in crowds:
                    key = _key(subscribers, size, crowd[0], awake)
                    _cost(bench, crowd, key, subscribers * publishes, publishes, size, awake)


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
                Row("(readers that sleep in between)", "µs", f"{ours} asleep", f"{bare} asleep"),
                Row(f"{what}, against nginx + nchan", "µs", ours, nchan, "< 1"),
            )
    for _ in bench.each_round():
        for subscribers, publishes in bench.scale.fan:
            _fan_out(bench, subscribers, publishes)


def last_subscriber(bench):
    subscribers, publishes = bench.scale.last
    what = f"publish to the last of {subscribers:,} subscribers"
    ours = f"last {Worker.name}"
    bench.rows(
        Row(f"{what}, against the bare loop", "ms", ours, f"last {BareLoop.name}", "<= 1.25"),
        Row("(against nginx + nchan)", "ms", ours, f"last {Nchan.name}"),
    )
    for _ in bench.each_round():
        with ExitStack() as stack:
            crowds = crowds_of(bench, stack, bench.contenders(Worker, BareLoop, Nchan), subscribers)
            for _ in bench.each_slice():
                for contender, load in crowds:
                    load.publish(contender, "fan", "fan", 1, until="delivered")  # to warm up
                    result = load.publish(contender, "fan", "fan", publishes, until="delivered")
                    bench.report.add(f"last {contender.name}", result["completions"]["p50"] / 1000)


def gateway_processes(bench):
    """What a delivery costs when several processes share the port, against one."""
    subscribers, publishes = bench.scale.fan[-1]
    several = bench.scale.gateway_processes
    names = {count: f"processes {count}" for count in (1, several)}
    bench.rows(
        Row(f"CPU a delivery, {several} gateway processes, {subscribers:,} subscribers, against one", "µs",
            f"{names[several]} alone", f"{names[1]} alone", "<= 1.05"),
    )  # fmt: skip
    for _ in bench.each_round():
        with ExitStack() as stack:
            makes = [lambda count=count: Worker(gateway_processes=count) for count in names]
            crowds = crowds_of(bench, stack, makes, subscribers)
            for _ in bench.each_slice():
                for crowd, name in zip(crowds, names.values()):
                    _cost(bench, crowd, name, subscribers * publishes, publishes)
