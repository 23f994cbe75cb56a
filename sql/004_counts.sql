-- Counts that are kept ready, so that nobody has to look at every row to know them.

-- How many rows `topics` has. The triggers keep it right, and each gateway that starts counts anew: a person's INSERT OR REPLACE
-- fires no trigger for the row that it replaces.
CREATE TABLE topic_count (topics INTEGER NOT NULL);

INSERT INTO topic_count SELECT count(*) FROM topics;

CREATE TRIGGER topic_added AFTER INSERT ON topics BEGIN
  UPDATE topic_count SET topics = topics + 1;
END;

CREATE TRIGGER topic_removed AFTER DELETE ON topics BEGIN
  UPDATE topic_count SET topics = topics - 1;
END;

-- Of this gateway alone. Users and topics of several can be the same ones: then the rows of `sessions` tell. -1: the gateway is
-- of an older version that does not count.
ALTER TABLE gateways ADD COLUMN sockets INTEGER NOT NULL DEFAULT -1;
ALTER TABLE gateways ADD COLUMN active_topics INTEGER NOT NULL DEFAULT -1; -- that have a socket
ALTER TABLE gateways ADD COLUMN clients INTEGER NOT NULL DEFAULT -1;       -- different users, and each anonymous socket
