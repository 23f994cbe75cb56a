/*
 * Which files are the database, see generation.h. State: in the lock's file. Waits for locks as
 * long as it may.
 *
 * Everybody commits under the lock, after checking that the files are in place. So whoever has the
 * lock, and knows that nobody writes under a former one, finds in the files that were opened last
 * everything that was ever acknowledged. What other processes have open is looked for in /proc, by
 * name, so that hardly any file system that has nothing to do with us is asked; without /proc
 * nobody is found.
 */
#include "shared/database/generation.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/birth.h"
#include "shared/base/clock.h"
#include "shared/base/state_dir.h"
#include "shared/database/write_lock.h"

#define DATABASE_NAME "worker.db"
#define LOCK_NAME "write.lock"

enum { REASON_SIZE = 200, NAME_SIZE = 32 };

static const uint64_t MARK = 0x33656c6966766c77; /* and the version of what is in the file */

const char *const database_names[FILES] = {
	[MAIN_FILE] = DATABASE_NAME,	     [LOG_FILE] = DATABASE_NAME "-wal",
	[INDEX_FILE] = DATABASE_NAME "-shm", [LOCK_FILE] = LOCK_NAME,
	[SYNC_FILE] = "sync.lock",
};

enum database_status generation_refuse(enum database_file file, const char *path, int error,
				       char why[DATABASE_WHY_SIZE])
{
	char reason[REASON_SIZE];

	state_dir_explain(path, error, reason, sizeof(reason));
	snprintf(why, DATABASE_WHY_SIZE, "cannot open %s in the state_dir: %s",
		 database_names[file], reason);
	return DATABASE_ERROR;
}

/* A search through the descriptors of all processes that this one may look at. All zero: it has not
 * begun. */
struct search {
	DIR *processes, *descriptors;
	bool is_ours; /* the process */
	int want; /* for want of what something could not be looked at, an errno; 0: everything was
		   */
	char directory[2 * NAME_SIZE], path[4 * NAME_SIZE]; /* of its descriptors; of this one */
	char link[STATE_DIR_PATH_SIZE]; /* the file's path, also if it was deleted since */
	struct stat info; /* of the file */
};

/* Something could not be opened. For want of descriptors or of memory: that says nothing of what is
 * there. */
static void search_failed(struct search *search)
{
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		search->want = errno;
}

static void search_end(struct search *search)
{
	if (search->descriptors)
		closedir(search->descriptors);
	if (search->processes)
		closedir(search->processes);
	*search = (struct search){.want = search->want};
}

/* On to the next descriptor of a file with `name` in its path; in our own process of any file, for
 * somebody may have renamed it. False: there are no more. */
static bool search_next(struct search *search, const char *name)
{
	struct dirent *entry = NULL;

	if (!search->processes && !(search->processes = opendir("/proc"))) {
		search_failed(search);
		return false;
	}
	while (search->descriptors || (entry = readdir(search->processes))) {
		if (!search->descriptors) {
			snprintf(search->directory, sizeof(search->directory), "/proc/%.*s/fd",
				 NAME_SIZE, entry->d_name);
			search->is_ours = strtoll(entry->d_name, NULL, 10) == getpid();
			if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
			    !(search->descriptors = opendir(search->directory)))
				search_failed(search);
			continue;
		}
		if (!(entry = readdir(search->descriptors))) {
			closedir(search->descriptors);
			search->descriptors = NULL;
			continue;
		}
		snprintf(search->path, sizeof(search->path), "%s/%.*s", search->directory,
			 NAME_SIZE, entry->d_name);
		ssize_t len = readlink(search->path, search->link, sizeof(search->link) - 1);
		search->link[len > 0 ? len : 0] = '\0';
		if ((search->is_ours || strstr(search->link, name)) &&
		    stat(search->path, &search->info) == 0 && S_ISREG(search->info.st_mode))
			return true;
	}
	search_end(search);
	return false;
}

/* The file that was found. Its mode counts even now that it is open: what somebody has locked us
 * out of, and then deleted, gets it back. */
static int search_open(struct search *search)
{
	int fd = open(search->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == EACCES && search->info.st_uid == geteuid() &&
	    chmod(search->path, (search->info.st_mode & 07777) | 0600) == 0)
		fd = open(search->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		search_failed(search);
	return fd;
}

/* Of what is at `path`, or of the open file when that is "". */
static struct file_id file_id(int fd, const char *path)
{
	struct stat info;

	if ((*path ? stat(path, &info) : fstat(fd, &info)) != 0)
		return (struct file_id){0};
	return (struct file_id){info.st_ino, file_birth_ns(fd, path)};
}

bool file_id_is_same(const struct file_id *one, const struct file_id *other)
{
	return one->inode != 0 && one->inode == other->inode &&
	       (one->birth_ns == other->birth_ns || one->birth_ns == 0 || other->birth_ns == 0);
}

/* False: there is none, or it is a copy of another file's. */
static bool read_record(int lock, struct generation *generation)
{
	struct file_id own = file_id(lock, "");

	if (lock >= 0 && pread(lock, generation, sizeof(*generation), 0) == sizeof(*generation) &&
	    generation->mark == MARK && file_id_is_same(&generation->files[LOCK_FILE], &own))
		return true;
	*generation = (struct generation){0};
	return false;
}

static void write_record(const struct database *database, int lock, struct generation generation)
{
	generation.mark = MARK;
	generation.home = database->home;
	generation.files[LOCK_FILE] = file_id(lock, "");
	(void)!pwrite(lock, &generation, sizeof(generation), 0);
}

/* FNV-1a, 64 bits. */
uint64_t generation_home(const char *state_dir)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (const char *at = state_dir; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 0x100000001b3;
	return hash;
}

/* Whether a lock file that somebody has open has been at this path before: there, or in a directory
 * that was moved since; and not at the same path under another root. */
static bool was_here(const struct database *database, const struct search *search, int lock,
		     const char *real_path, const struct stat *own)
{
	char path[STATE_DIR_PATH_SIZE + 2 * NAME_SIZE];
	struct generation record;
	struct stat there;

	if (search->info.st_uid != own->st_uid ||
	    (strncmp(search->link, real_path, strlen(real_path)) != 0 &&
	     !(read_record(lock, &record) && record.home == database->home)))
		return false;
	snprintf(path, sizeof(path), "%.*s/root%s",
		 (int)(strlen(search->directory) - strlen("/fd")), search->directory, real_path);
	return stat(path, &there) != 0 || there.st_ino == own->st_ino;
}

/* Takes, once, each lock file that has been at this path before, so that nobody is at work under
 * one any more: whoever takes one later sees that it has gone. When ours has gone meanwhile,
 * whoever has the next one waits for us: we do not wait for them. errno is 0 unless it could not
 * look. */
static bool take_over(const struct database *database, int lock, const char *path,
		      int64_t deadline_ms)
{
	struct search search = {0};
	struct generation latest = {0}, each;
	struct stat own = {0}, here;
	char *real_path = realpath(path, NULL);
	bool is_free = real_path && fstat(lock, &own) == 0;

	if (is_free && database->lock >= 0) {
		is_free = write_lock_take(database->lock, deadline_ms);
		read_record(database->lock, &latest);
		write_lock_release(database->lock);
	}
	while (is_free && search_next(&search, "/" LOCK_NAME)) {
		int fd = -1;

		if (search.info.st_ino != own.st_ino && strstr(search.link, "/" LOCK_NAME))
			fd = search_open(&search);
		if (fd < 0)
			continue; /* another file, or its process has ended */
		bool is_old = was_here(database, &search, fd, real_path, &own);
		is_free = stat(path, &here) == 0 && here.st_ino == own.st_ino;
		if (is_free && is_old) {
			is_free = write_lock_take(fd, deadline_ms);
			if (read_record(fd, &each) && each.sequence > latest.sequence)
				latest = each;
		}
		close(fd);
	}
	search_end(&search);
	free(real_path);
	is_free = is_free && search.want == 0;
	latest.sequence++;
	if (is_free)
		write_record(database, lock, latest);
	errno = search.want;
	return is_free;
}

enum database_status generation_lock(struct database *database, int64_t deadline_ms, bool is_writer,
				     char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE];
	bool fits = state_dir_file(database->state_dir, database_names[LOCK_FILE], path);
	struct generation known;
	struct stat held, here;
	bool is_taken;
	int lock = -1;

	/* Everybody takes the new one first, and then those that are older. */
	if (database->lock >= 0)
		write_lock_release(database->lock);
	do {
		if (lock >= 0)
			close(lock); /* it was deleted before it was ours */
		lock = fits ? write_lock_open(path) : -1;
		if (lock < 0)
			return generation_refuse(LOCK_FILE, path, errno, why);
		is_taken = write_lock_take(lock, deadline_ms);
	} while (is_taken &&
		 (fstat(lock, &held) != 0 || stat(path, &here) != 0 || held.st_ino != here.st_ino));
	errno = 0;
	if (!is_taken || (!read_record(lock, &known) &&
			  (!is_writer || !take_over(database, lock, path, deadline_ms)))) {
		enum database_status status = errno == 0 ? DATABASE_BUSY : DATABASE_ERROR;

		snprintf(why, DATABASE_WHY_SIZE, "%s%s",
			 errno == 0 ? "another process holds the write lock"
				    : "cannot look for who has the database open: ",
			 errno == 0 ? "" : strerror(errno));
		close(lock);
		return status;
	}
	if (database->lock >= 0)
		close(database->lock);
	database->lock = lock;
	held_file_take_open(&database->files[LOCK_FILE], lock, path, database_names[LOCK_FILE],
			    0600);
	return DATABASE_OK;
}

struct generation generation_own(const struct database *database)
{
	struct generation own = {.device = database->files[MAIN_FILE].device};

	for (size_t i = MAIN_FILE; i <= INDEX_FILE; i++)
		own.files[i].inode = database->files[i].inode;
	return own;
}

struct generation generation_latest(const struct database *database)
{
	struct generation latest;

	return read_record(database->lock, &latest) && latest.files[MAIN_FILE].inode != 0
		       ? latest
		       : generation_own(database);
}

/* An empty file is none yet. */
struct generation generation_here(const struct database *database)
{
	struct generation here = {0};
	char path[STATE_DIR_PATH_SIZE];
	struct stat info;

	for (size_t i = MAIN_FILE; i <= INDEX_FILE; i++)
		if (state_dir_file(database->state_dir, database_names[i], path) &&
		    stat(path, &info) == 0 && (i != MAIN_FILE || info.st_size > 0)) {
			here.device = info.st_dev;
			here.files[i] = file_id(-1, path);
		}
	return here;
}

bool generation_has(const struct generation *one, const struct generation *other,
		    enum database_file file)
{
	return file_id_is_same(&one->files[file], &other->files[file]) &&
	       one->device == other->device;
}

bool generation_is_same(const struct generation *one, const struct generation *other)
{
	for (enum database_file i = MAIN_FILE; i <= INDEX_FILE; i++)
		if (!generation_has(one, other, i) &&
		    (one->files[i].inode != 0 || other->files[i].inode != 0))
			return false;
	return true;
}

void generation_note(struct database *database, const struct generation *here)
{
	struct generation note = *here, noted;
	bool is_noted = read_record(database->lock, &noted);

	/* Of locks that began without knowing of each other the later one counts. */
	note.sequence = clock_wall_ms();
	if (note.sequence <= noted.sequence)
		note.sequence = noted.sequence + 1;
	if (!is_noted || !generation_is_same(&note, &noted) || note.newest_id != noted.newest_id ||
	    noted.home != database->home)
		write_record(database, database->lock, note);
	database->noted_id = note.newest_id;
}

void generation_note_copy(struct database *database, const char *path)
{
	struct generation note = generation_latest(database);

	note.copy = file_id(-1, path);
	write_record(database, database->lock, note);
}

void generation_note_id(struct database *database, int64_t id)
{
	if (id <= database->noted_id)
		return;
	database->noted_id = id;
	(void)!pwrite(database->lock, &id, sizeof(id), offsetof(struct generation, newest_id));
}

/* Where births cannot be told, the first bytes say at least that no log is taken for the file of
 * the database. */
static bool is_kind_of(int fd, enum database_file file)
{
	static const char *const kinds[] = {
		[MAIN_FILE] = "SQLite format 3", [LOG_FILE] = "7\x7f\x06", [INDEX_FILE] = ""};
	char begin[16] = {0};
	ssize_t len = pread(fd, begin, sizeof(begin), 0);

	return len == 0 || (len > 0 && memcmp(begin, kinds[file], strlen(kinds[file])) == 0);
}

/* Closes what is another file. */
static int keep_if(int fd, const struct generation *generation, enum database_file file)
{
	struct file_id found = file_id(fd, "");
	struct stat info;

	if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
	    info.st_dev == generation->device &&
	    file_id_is_same(&generation->files[file], &found) && is_kind_of(fd, file))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int generation_open(const struct database *database, const struct generation *generation,
		    enum database_file file)
{
	ino_t inode = generation->files[file].inode;
	struct search search = {0};
	char path[STATE_DIR_PATH_SIZE];
	int fd = -1;

	if (inode != 0 && state_dir_file(database->state_dir, database_names[file], path)) {
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			search_failed(&search);
		fd = keep_if(fd, generation, file);
	}
	while (inode != 0 && fd < 0 && search_next(&search, "/" DATABASE_NAME))
		if (search.info.st_ino == inode && search.info.st_dev == generation->device)
			fd = keep_if(search_open(&search), generation, file);
	search_end(&search);
	errno = search.want;
	return fd;
}
