"""What the programs have counted, as it stands in the database."""

from .direct import rows
from .waiting import wait_until


def counted(service, name, label=""):
    found = rows(service, "SELECT value FROM counters WHERE name = ? AND label = ?", name, label)
    return found[0][0] if found else 0


def wait_until_counted(service, name, label, expected):
    """It is written about once a second."""
    wait_until(
        lambda: counted(service, name, label) == expected,
        lambda: f"{expected} {name} {label}, not {counted(service, name, label)}",
    )
