-- Many nodes over Redis (redis_url), see docs/cluster.md. A node that is alone has the tables, and writes nothing to them.

-- This node, and how it is doing with Redis. The only row.
CREATE TABLE cluster (
  node          TEXT    NOT NULL,            -- 16 hex digits: its name in Redis, for as long as the database lives
  relayed_id    INTEGER,                     -- its own events up to this one are in the log; NULL: it has never been in a cluster
  joined_id     INTEGER NOT NULL DEFAULT 0,  -- its own events up to this one stay at home: they were there before the cluster
  gone_id       INTEGER NOT NULL DEFAULT 0,  -- the newest of its own pushes that has been pruned since it is in one
  log_position  TEXT    NOT NULL DEFAULT '0-0', -- all entries of the log up to this one are in `events`
  marker        TEXT,                        -- what Redis remembers us by; another one there: it has lost its memory
  cluster_nodes INTEGER NOT NULL DEFAULT -1, -- how many listen; -1: Redis is away, or there is no redis_url
  since_ms      INTEGER,                     -- Redis has been there, or away, since then; NULL: there is no redis_url
  why           TEXT                         -- it is away; NULL: it is there
);

INSERT INTO cluster (node) VALUES (lower(hex(randomblob(8))));

-- The other nodes.
CREATE TABLE nodes (
  node        TEXT    NOT NULL PRIMARY KEY, -- 16 hex digits
  last_id     INTEGER NOT NULL DEFAULT 0, -- its newest event that is or was in `events`, by its own number; 0: a foreign node, or a silent one
  gone_id     INTEGER NOT NULL DEFAULT 0, -- its newest push that has been pruned
  missing_id  INTEGER NOT NULL DEFAULT 0, -- its newest event that will never come
  name        TEXT    NOT NULL DEFAULT '', -- what it says of itself, from here on
  version     TEXT    NOT NULL DEFAULT '',
  is_alive    INTEGER NOT NULL DEFAULT 0, -- heard of within 15 seconds
  started_ms  INTEGER,
  topics      INTEGER NOT NULL DEFAULT 0, -- that have a subscriber
  clients     INTEGER NOT NULL DEFAULT 0,
  sockets     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- `events.origin` of what came from another node: its 16 hex digits, and after a point the event's own number there in 16
-- digits; a foreign node gives none. In one column, because one that is added now would come after the payload.
CREATE INDEX events_by_origin ON events (origin) WHERE origin IS NOT NULL;

CREATE TRIGGER event_of_node_removed AFTER DELETE ON events WHEN OLD.kind = 0 AND length(OLD.origin) > 16 BEGIN
  UPDATE nodes SET gone_id = max(gone_id, CAST(substr(OLD.origin, 18) AS INTEGER)) WHERE node = substr(OLD.origin, 1, 16);
END;

CREATE TRIGGER own_event_removed AFTER DELETE ON events WHEN OLD.kind = 0 AND OLD.origin IS NULL BEGIN
  UPDATE cluster SET gone_id = OLD.id WHERE relayed_id IS NOT NULL;
END;

-- Topics that were registered or unregistered here, and whose keys in Redis do not say so yet.
CREATE TABLE topics_to_relay (
  topic   TEXT    NOT NULL PRIMARY KEY,
  changes INTEGER NOT NULL DEFAULT 1 -- each adds 1: whoever has told Redis removes the row only if nothing has come since
) WITHOUT ROWID;

-- For people. The first row is this node; its lag is in events that the others do not have yet.
CREATE VIEW node_overview AS
  SELECT node, 'this one' AS name, '' AS version, CASE WHEN why IS NULL THEN 'reached' ELSE 'away: ' || why END AS redis,
         relayed_id AS last_id, gone_id,
         (SELECT count(*) FROM events WHERE id > relayed_id AND origin IS NULL AND kind < 3) AS lag_events,
         log_position, (SELECT count(*) FROM sessions) AS sockets,
         strftime('%Y-%m-%d %H:%M:%S', since_ms / 1000, 'unixepoch') AS since
    FROM cluster WHERE since_ms IS NOT NULL
   UNION ALL
  SELECT node, name, version, CASE is_alive WHEN 1 THEN 'alive' ELSE 'gone' END, last_id, max(gone_id, missing_id), NULL, NULL, sockets,
         strftime('%Y-%m-%d %H:%M:%S', started_ms / 1000, 'unixepoch')
    FROM nodes;

DROP VIEW event_overview;

CREATE VIEW event_overview AS
  SELECT id,
         CASE kind WHEN 0 THEN 'push' WHEN 1 THEN 'unregister' WHEN 2 THEN 'disconnect'
                   WHEN 3 THEN 'database made' WHEN 4 THEN 'ids jumped' WHEN 5 THEN 'events missing' END AS kind,
         topic, user_id, length(CAST(payload AS BLOB)) AS bytes, substr(payload, 1, 60) AS payload_begins,
         strftime('%Y-%m-%d %H:%M:%f', created_ms / 1000.0, 'unixepoch') AS created,
         coalesce((SELECT nullif(name, '') FROM nodes WHERE node = substr(origin, 1, 16)), substr(origin, 1, 16), 'here') AS origin,
         CAST(nullif(substr(origin, 18), '') AS INTEGER) AS origin_id
    FROM events
   ORDER BY id;
