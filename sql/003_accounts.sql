-- What the programs have counted: totals since the database was made, added up by each process about once a second, and only
-- when something was counted. GET /internal/metrics shows the same numbers. What was never counted has no row.
CREATE TABLE counters (
  name  TEXT    NOT NULL, -- 'deliveries'; of a latency 'commit_us' and 'commit_us_sum'
  label TEXT    NOT NULL, -- a cause, an outcome, a status; '' when there is only one; for a latency: at most that many microseconds
  value INTEGER NOT NULL,
  PRIMARY KEY (name, label)
) WITHOUT ROWID;

-- Bytes that wait in the outboxes of slow clients.
ALTER TABLE gateways ADD COLUMN outbox_bytes INTEGER NOT NULL DEFAULT 0;

DROP VIEW gateway_overview;

CREATE VIEW gateway_overview AS
  SELECT pid, version, address,
         strftime('%Y-%m-%d %H:%M:%S', started_ms / 1000, 'unixepoch') AS started,
         strftime('%Y-%m-%d %H:%M:%S', seen_ms / 1000, 'unixepoch') AS seen,
         (SELECT count(*) FROM sessions WHERE gateway = pid) AS sockets,
         (SELECT max(id) FROM events) - last_event_id AS events_behind,
         outbox_bytes
    FROM gateways;

CREATE VIEW counter_overview AS
  SELECT name, label, value FROM counters
   WHERE name NOT GLOB '*_us' AND name NOT GLOB '*_us_sum'
   ORDER BY name, label;

-- commit: of a publish, waiting included; delivery: from the publish until all subscribers were written to; fanout: the writing
-- alone. Each row counts what took no longer than `up_to_ms`, but longer than the row before says.
CREATE VIEW latency_overview AS
  SELECT substr(name, 1, length(name) - 3) AS latency,
         CASE label WHEN 'more' THEN 'more' ELSE CAST(label AS INTEGER) / 1000.0 END AS up_to_ms,
         value AS times,
         round(100.0 * sum(value) OVER (PARTITION BY name ORDER BY label = 'more', CAST(label AS INTEGER))
               / sum(value) OVER (PARTITION BY name), 2) AS percent_so_far
    FROM counters
   WHERE name GLOB '*_us'
   ORDER BY name, label = 'more', CAST(label AS INTEGER);

-- The gauges of GET /internal/metrics that the database knows, over the gateways that have a row. (The write-ahead log is the
-- file worker.db-wal.)
CREATE VIEW gauge_overview AS
  SELECT (SELECT count(*) FROM gateways) AS gateways,
         (SELECT count(*) FROM sessions) AS sockets,
         (SELECT count(*) FROM topics) AS topics,
         (SELECT coalesce(sum(outbox_bytes), 0) FROM gateways) AS outbox_bytes,
         (SELECT max(id) FROM events) - (SELECT min(id) FROM events) + 1 AS events,
         (SELECT max(id) FROM events) AS committed_event_id,
         (SELECT min(last_event_id) FROM gateways) AS delivered_event_id;
