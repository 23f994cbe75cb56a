-- Where ids jumped ahead, because some that had been handed out may be lost: in a power cut, or with the database that was here
-- before. The ids in between are nobody's, so a subscriber whose position is one of them has seen what this database never had.
CREATE TABLE id_jumps (
  first_id  INTEGER NOT NULL PRIMARY KEY, -- ids went on from here
  before_id INTEGER NOT NULL,             -- the newest event until then
  boot_id   TEXT    NOT NULL              -- of the kernel that ran
);

-- How many events there are, without looking at each: the ids in the table have no gaps but the jumps.
CREATE VIEW event_count AS
  SELECT (SELECT max(id) FROM events) - (SELECT min(id) FROM events) + 1
         - (SELECT coalesce(sum(first_id - before_id - 1), 0) FROM id_jumps
             WHERE before_id >= (SELECT min(id) FROM events)) AS events;

DROP VIEW event_overview;

CREATE VIEW event_overview AS
  SELECT id,
         CASE kind WHEN 0 THEN 'push' WHEN 1 THEN 'unregister' WHEN 2 THEN 'disconnect'
                   WHEN 3 THEN 'database made' WHEN 4 THEN 'ids jumped' END AS kind,
         topic, user_id, length(CAST(payload AS BLOB)) AS bytes, substr(payload, 1, 60) AS payload_begins,
         strftime('%Y-%m-%d %H:%M:%f', created_ms / 1000.0, 'unixepoch') AS created,
         coalesce(origin, 'here') AS origin
    FROM events
   ORDER BY id;

DROP VIEW gauge_overview;

CREATE VIEW gauge_overview AS
  SELECT (SELECT count(*) FROM gateways) AS gateways,
         (SELECT count(*) FROM sessions) AS sockets,
         (SELECT count(*) FROM topics) AS topics,
         (SELECT coalesce(sum(outbox_bytes), 0) FROM gateways) AS outbox_bytes,
         (SELECT events FROM event_count) AS events,
         (SELECT max(id) FROM events) AS committed_event_id,
         (SELECT min(last_event_id) FROM gateways) AS delivered_event_id;
