/*
 * Which files are the database: those that were opened last, by any process of ours. The lock's
 * file says which they were, and which event was the newest then. Whoever finds others in their
 * place looks for them here: what was deleted is whole as long as anybody has it open, even a
 * process that is stopped, or one that has died but not yet closed its files.
 */
#ifndef SHARED_GENERATION_H
#define SHARED_GENERATION_H

#include "shared/database/database_internal.h"

/* The number alone does not do: it is given again once nobody has the file. */
struct file_id {
	ino_t inode; /* 0: there is none */
	int64_t birth_ns; /* 0: it cannot be told */
};

struct generation {
	uint64_t mark; /* that it is one; 0: nothing is known */
	int64_t sequence; /* of several lock files the one with the highest is right */
	int64_t newest_id; /* of the events */
	uint64_t home; /* where it was, for those who start when the directory has been moved */
	struct file_id copy; /* a new file of the database that is about to be put in place */
	dev_t device;
	struct file_id files[LOCK_FILE + 1]; /* the three files and the lock's */
};

extern const char *const database_names[FILES];

/* A number for the path of a state_dir. */
uint64_t generation_home(const char *state_dir);

/* Opens the lock's file, made if need be, and locks it; it replaces the one that was open, whose
 * lock is given up first. If it is a new file, a writer waits, until the deadline, for those who
 * may be at work under a former one, and takes over what that says; a reader leaves it alone and
 * gets DATABASE_BUSY. */
enum database_status generation_lock(struct database *database, int64_t deadline_ms, bool is_writer,
				     char why[DATABASE_WHY_SIZE]);

/* With the lock: what the lock's file says, or else what this connection has open; what this
 * connection has open; and what is there now. */
struct generation generation_latest(const struct database *database);
struct generation generation_own(const struct database *database);
struct generation generation_here(const struct database *database);

bool file_id_is_same(const struct file_id *one, const struct file_id *other);

/* Whether all three files are the same, missing ones included; and whether that one is. */
bool generation_is_same(const struct generation *one, const struct generation *other);
bool generation_has(const struct generation *one, const struct generation *other,
		    enum database_file file);

/* With the lock: these are the files now; the file at `path` is about to be put in place; and,
 * after a commit, which event is the newest. */
void generation_note(struct database *database, const struct generation *here);
void generation_note_copy(struct database *database, const char *path);
void generation_note_id(struct database *database, int64_t id);

/* A descriptor of that file of a generation, from where it belongs or from any process that has it
 * open, to be closed by the caller. -1: no process that can be seen has it (errno is 0), or it
 * could not be looked for (errno says why). */
int generation_open(const struct database *database, const struct generation *generation,
		    enum database_file file);

/* Says in `why` that a file cannot be opened. */
enum database_status generation_refuse(enum database_file file, const char *path, int error,
				       char why[DATABASE_WHY_SIZE]);

#endif
