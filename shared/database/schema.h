/*
 * The migrations of sql/, built in. Migration n (from 0) takes a database from `user_version` n to
 * n + 1.
 */
#ifndef SHARED_SCHEMA_H
#define SHARED_SCHEMA_H

/* events.kind, see 001_schema.sql. */
enum event_kind {
	EVENT_PUSH = 0,
	EVENT_UNREGISTER = 1,
	EVENT_DISCONNECT = 2,
	EVENT_DATABASE_MADE = 3,
	EVENT_IDS_JUMPED = 4,
	EVENT_GAP = 5 /* of a cluster: events of another node, up to its `origin`, are missing */
};

extern const char *const schema_migrations[];

/* How many there are: the `user_version` of a database that is up to date. */
extern const int schema_version;

#endif
