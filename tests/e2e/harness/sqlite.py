"""Looking into the database as people do: with the sqlite3 command line, while the programs run."""

import json
import sqlite3
import subprocess

from .process import LIMIT_S, wait_until

# Checkpoints are the programs' business: none of ours may come between (sql/README.md, writing by hand).
FIRST = """.output /dev/null
.timeout 5000
.dbconfig no_ckpt_on_close on
PRAGMA wal_autocheckpoint = 0;
.output stdout
"""


def command(database, *options):
    return ["sqlite3", "-batch", "-bail", *options, str(database)]


def ask(database, sql):
    """The rows of one SELECT, each a dict."""
    text = f"{FIRST}PRAGMA query_only = 1;\n{sql};"
    done = subprocess.run(command(database, "-json"), input=text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "[]")


def value(database, sql):
    """The first column of the only row."""
    (row,) = ask(database, sql)
    return next(iter(row.values()))


def change(database, sql):
    """Runs statements that write."""
    done = subprocess.run(command(database), input=f"{FIRST}{sql};", capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def rows(service, query, *values):
    """What a person with sqlite3 would see."""
    database = sqlite3.connect(f"file:{service.database}?mode=ro", uri=True, timeout=5)
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()


class OpenTransaction:
    """Somebody's sqlite3 that began a transaction and went for lunch: a context manager."""

    def __init__(self, database, begin="BEGIN IMMEDIATE"):
        self.process = subprocess.Popen(
            command(database), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.process.stdin.write(f"{FIRST}{begin};\nSELECT 'begun';\n")
        lines = iter(self.process.stdout.readline, "")
        assert any(line == "begun\n" for line in lines), "the transaction did not begin"

    def end(self, how="ROLLBACK"):
        self.process.stdin.write(f"{how};\n.quit\n")
        self.process.stdin.close()
        assert self.process.wait(LIMIT_S) == 0
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.end()


def counted(service, name, label=""):
    found = rows(service, "SELECT value FROM counters WHERE name = ? AND label = ?", name, label)
    return found[0][0] if found else 0


def wait_until_counted(service, name, label, expected):
    """It is written about once a second."""
    wait_until(
        lambda: counted(service, name, label) == expected,
        lambda: f"{expected} {name} {label}, not {counted(service, name, label)}",
    )
