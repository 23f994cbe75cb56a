-- By what a client is connected.
ALTER TABLE sessions ADD COLUMN transport INTEGER NOT NULL DEFAULT 0; -- 0 WebSocket, 1 stream

DROP VIEW session_overview;

CREATE VIEW session_overview AS
  SELECT topic, user_id, address,
         CASE transport WHEN 0 THEN 'websocket' WHEN 1 THEN 'stream' END AS transport,
         strftime('%Y-%m-%d %H:%M:%S', connected_ms / 1000, 'unixepoch') AS connected,
         strftime('%Y-%m-%d %H:%M:%S', expires_ms / 1000, 'unixepoch') AS token_expires,
         gateway
    FROM sessions
   ORDER BY topic, connected_ms;
