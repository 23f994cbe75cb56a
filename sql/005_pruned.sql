-- How far the pushes of each topic are gone, so that a subscriber that has had all up to there is known to have missed nothing.

-- A row for each registered topic, and one with the topic '' for orders. Triggers keep it, whoever prunes or registers.
CREATE TABLE pruned (
  topic    TEXT    NOT NULL PRIMARY KEY,
  event_id INTEGER NOT NULL -- the newest that is gone, or may have been when the topic was registered
) WITHOUT ROWID;

INSERT INTO pruned
  SELECT topic, (SELECT id - (kind <> 3) FROM events ORDER BY id LIMIT 1)
  FROM (SELECT topic FROM topics UNION ALL SELECT '');

CREATE TRIGGER topic_added_pruned AFTER INSERT ON topics BEGIN
  INSERT INTO pruned SELECT NEW.topic, id - (kind <> 3) FROM events WHERE true ORDER BY id LIMIT 1
  ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER topic_removed_pruned AFTER DELETE ON topics BEGIN
  DELETE FROM pruned WHERE topic = OLD.topic;
END;

CREATE TRIGGER event_removed AFTER DELETE ON events BEGIN
  UPDATE pruned SET event_id = max(event_id, OLD.id)
   WHERE topic = CASE OLD.kind WHEN 0 THEN OLD.topic WHEN 1 THEN '' WHEN 2 THEN '' END;
END;
