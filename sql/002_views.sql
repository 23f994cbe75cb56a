-- For people: names, readable times (UTC), counts. The programs do not read these.

CREATE VIEW topic_overview AS
  SELECT t.topic,
         CASE t.require_token WHEN 1 THEN 'token' ELSE 'open' END AS access,
         strftime('%Y-%m-%d %H:%M:%S', nullif(t.registered_ms, 0) / 1000, 'unixepoch') AS registered,
         CASE WHEN t.expires_ms = 9223372036854775807 THEN 'never'
              ELSE strftime('%Y-%m-%d %H:%M:%S', t.expires_ms / 1000, 'unixepoch') END AS expires,
         coalesce(s.subscribers, 0) AS subscribers,
         coalesce(e.pushes, 0) AS pushes_kept,
         e.last_push
    FROM topics AS t
    LEFT JOIN (SELECT topic, count(*) AS subscribers FROM sessions GROUP BY topic) AS s USING (topic)
    LEFT JOIN (SELECT topic, count(*) AS pushes,
                      strftime('%Y-%m-%d %H:%M:%f', max(created_ms) / 1000.0, 'unixepoch') AS last_push
                 FROM events WHERE kind = 0 GROUP BY topic) AS e USING (topic)
   ORDER BY t.topic;

CREATE VIEW session_overview AS
  SELECT topic, user_id, address,
         strftime('%Y-%m-%d %H:%M:%S', connected_ms / 1000, 'unixepoch') AS connected,
         strftime('%Y-%m-%d %H:%M:%S', expires_ms / 1000, 'unixepoch') AS token_expires,
         gateway
    FROM sessions
   ORDER BY topic, connected_ms;

CREATE VIEW gateway_overview AS
  SELECT pid, version, address,
         strftime('%Y-%m-%d %H:%M:%S', started_ms / 1000, 'unixepoch') AS started,
         strftime('%Y-%m-%d %H:%M:%S', seen_ms / 1000, 'unixepoch') AS seen,
         (SELECT count(*) FROM sessions WHERE gateway = pid) AS sockets,
         (SELECT max(id) FROM events) - last_event_id AS events_behind
    FROM gateways;

CREATE VIEW event_overview AS
  SELECT id,
         CASE kind WHEN 0 THEN 'push' WHEN 1 THEN 'unregister' WHEN 2 THEN 'disconnect'
                   WHEN 3 THEN 'database made' END AS kind,
         topic, user_id, length(CAST(payload AS BLOB)) AS bytes, substr(payload, 1, 60) AS payload_begins,
         strftime('%Y-%m-%d %H:%M:%f', created_ms / 1000.0, 'unixepoch') AS created,
         coalesce(origin, 'here') AS origin
    FROM events
   ORDER BY id;
