"""Tokens as the callers make them: hex(claims).hex(HMAC-SHA256(secret, hex(claims)))."""

import hashlib
import hmac
import json
import time


def sign(secret, claims):
    """A token of any claims: an object, or raw bytes for broken ones."""
    raw = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = raw.hex()
    return text + "." + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def make_token(secret, topic, user_id=1, expires=None):
    """`expires` is unix seconds; without it, an hour from now."""
    when = int(time.time()) + 3600 if expires is None else expires
    return sign(secret, {"user_id": user_id, "topic": topic, "expires": when})
