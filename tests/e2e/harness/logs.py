"""What no log may hold after a test."""

FORBIDDEN = (
    b"ERROR: AddressSanitizer",
    b"runtime error:",
    b"LeakSanitizer",
    b"AddressSanitizer:DEADLYSIGNAL",
    b"UndefinedBehaviorSanitizer",
)


def faults(directory, secret):
    """Every log line below `directory` that must not be there, as text."""
    found = []
    for path in sorted(directory.rglob("*.log")):
        content = path.read_bytes()
        if any(word in content for word in FORBIDDEN):
            found.append(f"{path.name}: a sanitizer report:\n{content[-6000:].decode(errors='replace')}")
        for line in content.splitlines():
            if secret.encode() in line:
                found.append(f"{path.name}: the secret: {line.decode(errors='replace')}")
    return found


def tail(directory, lines=25):
    """The ends of all logs, to show beside a failure."""
    parts = []
    for path in sorted(directory.rglob("*.log")):
        text = path.read_text(errors="replace").splitlines()
        if text:
            parts.append("\n".join([f"--- {path.name}", *text[-lines:]]))
    return "\n".join(parts)
