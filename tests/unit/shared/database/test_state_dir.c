/*
 * The state_dir: made, accepted, or refused with a reason that an operator can act on. Each is seen
 * through database_open, which is where both programs meet it.
 */
#include "tests/unit/database_fixture.h"
#include "shared/base/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

enum { NOBODY = 65534 };

static char why[DATABASE_WHY_SIZE];

/* Whether it opens; `why` says why not. */
static bool opens(void)
{
	struct database *database = database_open(&config, DATABASE_START_WAIT_MS, why);

	database_close(database);
	return database != NULL;
}

static void assert_refused(const char *reason)
{
	assert_false(opens());
	if (!strstr(why, reason))
		fail_msg("\"%s\" does not say \"%s\"", why, reason);
}

static mode_t mode_of(const char *path)
{
	struct stat info;

	assert_int_equal(lstat(path, &info), 0);
	return info.st_mode & 07777;
}

static void what_is_made_is_private_whatever_the_umask(void **state)
{
	(void)state;
	static const mode_t masks[] = {0, 022, 077};

	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		snprintf(state_dir, sizeof(state_dir), "%s/state%zu", base, i);
		mode_t old_mask = umask(masks[i]);
		struct database *database = open_database();

		execute(database_handle(database), "DELETE FROM events WHERE id = 0");
		assert_int_equal(umask(old_mask), masks[i]); /* as it was */
		assert_int_equal(mode_of(state_dir), 0700);
		assert_int_equal(mode_of(path_of("worker.db")), 0600);
		assert_int_equal(mode_of(path_of("worker.db-wal")), 0600);
		assert_int_equal(mode_of(path_of("worker.db-shm")), 0600);
		assert_int_equal(mode_of(path_of("write.lock")), 0600);
		database_close(database);
	}
}

static void one_that_is_there_is_left_as_it_is(void **state)
{
	(void)state;
	static const mode_t modes[] = {0700, 0750, 0755, 0770, 02770};

	assert_int_equal(mkdir(state_dir, 0700), 0);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(state_dir, modes[i]), 0);
		assert_true(opens());
		assert_int_equal(mode_of(state_dir), modes[i]);
	}
}

static void the_directory_above_is_not_made(void **state)
{
	(void)state;
	snprintf(state_dir, sizeof(state_dir), "%s/no/state", base);
	assert_refused("the directory above it does not exist");
	snprintf(state_dir, sizeof(state_dir), "%s/no", base);
	assert_int_equal(access(state_dir, F_OK), -1);
}

static void a_link_to_a_directory_will_do(void **state)
{
	(void)state;
	char target[128];

	snprintf(target, sizeof(target), "%s/real", base);
	assert_int_equal(symlink(target, state_dir), 0);
	assert_refused("No such file or directory");
	assert_int_equal(mkdir(target, 0700), 0);
	assert_true(opens());

	/* Both ways lead to one database: SQLite finds the log that belongs to it. */
	struct database *by_link = open_database();
	snprintf(state_dir, sizeof(state_dir), "%s", target);
	struct database *straight = open_database();
	execute(database_handle(by_link), "INSERT INTO topics VALUES ('by the link', 0, 0, 1)");
	assert_int_equal(query_number(database_handle(straight),
				      "SELECT count(*) FROM topics WHERE topic = 'by the link'"),
			 1);
	database_close(by_link);
	database_close(straight);
}

static void what_is_no_directory_is_refused(void **state)
{
	(void)state;
	close(open(state_dir, O_WRONLY | O_CREAT, 0600));
	assert_refused("the state_dir is not a directory");
	snprintf(state_dir, sizeof(state_dir), "%s/state/below", base);
	assert_refused("Not a directory");
	state_dir[0] = '\0';
	assert_false(opens());
}

static void one_that_everybody_can_write_to_is_refused(void **state)
{
	(void)state;
	assert_int_equal(mkdir(state_dir, 0700), 0);
	assert_int_equal(chmod(state_dir, 0777), 0);
	assert_refused("every user can write to the state_dir (mode 0777)");
	assert_int_equal(chmod(state_dir, 01777), 0);
	assert_refused("(mode 1777)");
	assert_int_equal(access(path_of("write.lock"), F_OK), -1); /* before anything is made */
}

static void a_path_too_long_is_refused_and_not_cut(void **state)
{
	(void)state;
	static char path[STATE_DIR_PATH_SIZE + 16];
	char out[STATE_DIR_PATH_SIZE];

	/* "//////...": the way to the root directory, and to a file in it. */
	memset(path, '/', sizeof(path) - 1);
	path[STATE_DIR_PATH_SIZE - 1 - strlen("/x")] = '\0';
	assert_true(state_dir_file(path, "x", out));
	assert_int_equal(strlen(out), STATE_DIR_PATH_SIZE - 1);
	assert_false(state_dir_file(path, "xy", out));
	assert_int_equal(errno, ENAMETOOLONG);
}

/* As somebody who is not root, and owns nothing here. */
static void drop_root(void)
{
	if (geteuid() == 0)
		MUST(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
}

static void must_be_refused(void *reason)
{
	drop_root();
	MUST(!opens());
	if (!strstr(why, reason))
		fprintf(stderr, "\"%s\" does not say \"%s\"\n", why, (const char *)reason);
	MUST(strstr(why, reason));
	MUST(strstr(why, "this program runs as ") || strstr(why, "cannot make the state_dir as "));
}

static void without_permission_it_is_said_whose_it_is(void **state)
{
	(void)state;
	static char in_dir[] = "cannot write to the state_dir: Permission denied (it belongs to ";
	static char to_make[] = "cannot make the state_dir as ";

	assert_int_equal(chmod(base, 0555), 0);
	in_child(must_be_refused, to_make);
	assert_int_equal(chmod(base, 0755), 0);
	assert_int_equal(mkdir(state_dir, 0700), 0);
	assert_int_equal(chmod(state_dir, 0555), 0);
	in_child(must_be_refused, in_dir);
}

static void files_that_another_user_left_are_named(void **state)
{
	(void)state;
	static char of_lock[] = "cannot open write.lock in the state_dir: Permission denied (it";
	static char of_database[] = "cannot open worker.db in the state_dir: Permission denied (it";
	bool is_root = geteuid() == 0;

	assert_true(opens());
	assert_int_equal(chmod(base, 0755), 0);
	/* As if root had run a program first. */
	if (is_root)
		assert_int_equal(chown(state_dir, NOBODY, NOBODY), 0);
	else
		assert_int_equal(chmod(path_of("write.lock"), 0), 0);
	in_child(must_be_refused, of_lock);
	if (is_root)
		assert_int_equal(chown(path_of("write.lock"), NOBODY, NOBODY), 0);
	else
		assert_int_equal(chmod(path_of("write.lock"), 0600), 0);
	assert_int_equal(chmod(path_of("worker.db"), 0), 0);
	in_child(must_be_refused, of_database);
	/* One that can be read and not written is no database to work on either. */
	assert_int_equal(chmod(path_of("worker.db"), 0444), 0);
	in_child(must_be_refused, of_database);
}

static void on_a_disk_that_is_read_only(void *argument)
{
	(void)argument;
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", state_dir, "tmpfs", 0, "mode=0700") != 0)
		_exit(NOT_ALLOWED);
	MUST(opens());
	MUST(mount("none", state_dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	MUST(!opens());
	MUST(strstr(why, "cannot write to the state_dir: Read-only file system"));
}

static void a_read_only_disk_is_named(void **state)
{
	(void)state;
	assert_int_equal(mkdir(state_dir, 0700), 0);
	in_child_if_allowed(on_a_disk_that_is_read_only);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DATABASE_TEST(what_is_made_is_private_whatever_the_umask),
		DATABASE_TEST(one_that_is_there_is_left_as_it_is),
		DATABASE_TEST(the_directory_above_is_not_made),
		DATABASE_TEST(a_link_to_a_directory_will_do),
		DATABASE_TEST(what_is_no_directory_is_refused),
		DATABASE_TEST(one_that_everybody_can_write_to_is_refused),
		DATABASE_TEST(a_path_too_long_is_refused_and_not_cut),
		DATABASE_TEST(without_permission_it_is_said_whose_it_is),
		DATABASE_TEST(files_that_another_user_left_are_named),
		DATABASE_TEST(a_read_only_disk_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
