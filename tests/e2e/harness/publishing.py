"""Publishers who keep the service busy while a test looks at something else."""

import contextlib
import threading


@contextlib.contextmanager
def publishing(server, topic, publishers):
    """So many threads, each of which publishes again as soon as it has its answer."""
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            server.api.publish(topic, 1)

    threads = [threading.Thread(target=publish) for _ in range(publishers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
