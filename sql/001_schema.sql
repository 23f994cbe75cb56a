-- The first schema. Times are unix milliseconds (`_ms`); the views in 002 show them readable.

-- A topic that clients may subscribe and publish to, until it expires.
CREATE TABLE topics (
  topic         TEXT    NOT NULL PRIMARY KEY, -- compared byte by byte
  require_token INTEGER NOT NULL,             -- 1: a subscriber must show a token
  registered_ms INTEGER NOT NULL,             -- first registered
  expires_ms    INTEGER NOT NULL              -- registering again moves it
) WITHOUT ROWID;

CREATE INDEX topics_by_expiry ON topics (expires_ms);

-- The topic that always exists: it answers status questions.
INSERT INTO topics VALUES ('worker.status', 1, 0, 9223372036854775807);

-- What happened, in commit order: pushes, and orders to the gateways. One b-tree on purpose: a publish writes as few pages
-- as it can. Ids rise and are never used again: the newest row is always kept, and the first id of a database
-- comes from the clock, so that one made anew starts above those of its predecessor.
CREATE TABLE events (
  id         INTEGER NOT NULL PRIMARY KEY,
  kind       INTEGER NOT NULL, -- 0 push, 1 unregister, 2 disconnect, 3 the database was made
  topic      TEXT,
  created_ms INTEGER NOT NULL,
  user_id    INTEGER,          -- disconnect: whose sockets; NULL: everybody's
  origin     TEXT,             -- the node that published it; NULL: this one
  payload    TEXT              -- the bytes that subscribers get; last, because it may be long
);

INSERT INTO events (id, kind, created_ms)
  SELECT now_ms * 1000, 3, now_ms
  FROM (SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS now_ms);

-- The gateway processes that run, and rows of killed ones until the next one clears them.
CREATE TABLE gateways (
  pid           INTEGER NOT NULL PRIMARY KEY,
  version       TEXT    NOT NULL,
  address       TEXT    NOT NULL, -- where it listens
  started_ms    INTEGER NOT NULL,
  seen_ms       INTEGER NOT NULL, -- the row was written last; nothing is while nothing changes
  last_event_id INTEGER NOT NULL, -- it has handed out all events up to this one
  cluster_nodes INTEGER NOT NULL  -- -1: no cluster
);

-- The authenticated sockets of each gateway. A slot is used again after its socket has gone.
CREATE TABLE sessions (
  gateway      INTEGER NOT NULL, -- gateways.pid
  slot         INTEGER NOT NULL,
  topic        TEXT    NOT NULL,
  user_id      INTEGER NOT NULL, -- 0: anonymous
  address      TEXT    NOT NULL,
  connected_ms INTEGER NOT NULL,
  expires_ms   INTEGER,          -- the token's expiry; NULL: no token was needed
  PRIMARY KEY (gateway, slot)
) WITHOUT ROWID;
