/*
 * Living gateways: told by locks that the kernel takes back, between real processes and within one.
 */
#include "tests/unit/database_fixture.h"
#include "shared/database/liveness.h"

#include <errno.h>
#include <fcntl.h>

static int make_state_dir(void **state)
{
	return make_base(state) == 0 && mkdir(state_dir, 0700) == 0 ? 0 : -1;
}

#define LIVENESS_TEST(test) cmocka_unit_test_setup_teardown(test, make_state_dir, remove_base)

enum { PID = 4711 };

static struct liveness *open_liveness(void)
{
	struct liveness *liveness = liveness_open(state_dir);

	assert_non_null(liveness);
	return liveness;
}

/* A gateway process with PID, that lives until it is killed. */
static void be_a_gateway(void *argument)
{
	struct liveness *liveness = liveness_open(state_dir);
	int *pipe_ends = argument;
	char byte = '!';

	MUST(liveness && liveness_claim_service(state_dir, -1) >= 0 &&
	     liveness_claim_pid(liveness, PID));
	MUST(liveness_check(liveness, PID));
	MUST(write(pipe_ends[1], &byte, 1) == 1);
	pause();
}

static pid_t start_gateway(void)
{
	int pipe_ends[2];
	char byte;

	assert_int_equal(pipe(pipe_ends), 0);
	pid_t child = start_child(be_a_gateway, pipe_ends);
	assert_int_equal(read(pipe_ends[0], &byte, 1), 1);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	return child;
}

/* The byte that a gateway last heard of that long ago has locked. */
static off_t beat_at(int64_t pid, int64_t ago_ms)
{
	return (off_t)((pid << 31) + (clock_monotonic_ms() - ago_ms) / 100 % (1 << 30));
}

static void set_lock(int fd, off_t at, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
}

static int open_lock_file(void)
{
	int fd = open(path_of("gateway.lock"), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void a_gateway_is_alive_while_its_process_is(void **state)
{
	(void)state;
	struct liveness *liveness = open_liveness();

	assert_false(liveness_check(liveness, PID));
	pid_t gateway = start_gateway();
	assert_true(liveness_check(liveness, PID));
	assert_false(liveness_check(liveness, PID + 1));
	assert_false(liveness_check(liveness, PID - 1));
	kill_child(gateway);
	assert_false(liveness_check(liveness, PID));
	gateway = start_gateway();
	assert_true(liveness_check(liveness, PID));
	kill_child(gateway);
	liveness_close(liveness);
	liveness_close(NULL);
}

static void a_gateway_that_hangs_is_not_alive_but_exists(void **state)
{
	(void)state;
	struct liveness *liveness = open_liveness();
	int gateway = open_lock_file();
	off_t late = beat_at(PID, LIVENESS_LIMIT_MS / 2), hung = beat_at(PID, LIVENESS_LIMIT_MS);

	set_lock(gateway, late, F_WRLCK);
	assert_true(liveness_check(liveness, PID));
	set_lock(gateway, hung, F_WRLCK);
	set_lock(gateway, late, F_UNLCK);
	assert_false(liveness_check(liveness, PID));
	assert_true(liveness_exists(liveness, PID));
	set_lock(gateway, beat_at(PID, 0), F_WRLCK); /* it comes to itself */
	set_lock(gateway, hung, F_UNLCK);
	assert_true(liveness_check(liveness, PID));
	close(gateway);
	assert_false(liveness_exists(liveness, PID));
	liveness_close(liveness);
}

/* A heartbeat is the place of a lock: it moves on, and nothing is written. */
static void a_heartbeat_writes_nothing(void **state)
{
	(void)state;
	struct liveness *gateway = open_liveness();
	struct flock first = {.l_type = F_WRLCK}, now;
	struct stat before, after;
	int64_t give_up_ms = clock_monotonic_ms() + 5000;
	int fd = open_lock_file();

	assert_true(liveness_claim_pid(gateway, PID));
	assert_int_equal(fcntl(fd, F_OFD_GETLK, &first), 0);
	assert_int_equal(first.l_start >> 31, PID);
	assert_int_equal(fstat(fd, &before), 0);
	do {
		liveness_beat(gateway);
		now = (struct flock){.l_type = F_WRLCK};
		assert_int_equal(fcntl(fd, F_OFD_GETLK, &now), 0);
	} while (now.l_start == first.l_start && clock_monotonic_ms() < give_up_ms);
	assert_true(now.l_start > first.l_start);
	assert_int_equal(now.l_len, 1);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(after.st_size, 0);
	assert_memory_equal(&after.st_mtim, &before.st_mtim, sizeof(after.st_mtim));
	close(fd);
	liveness_close(gateway);
}

static void a_gateway_sees_itself(void **state)
{
	(void)state;
	struct liveness *gateway = open_liveness(), *other = open_liveness();

	int right = liveness_claim_service(state_dir, -1);

	assert_true(right >= 0);
	assert_true(liveness_claim_pid(gateway, PID));
	assert_true(liveness_check(gateway, PID));
	assert_true(liveness_check(other, PID));
	liveness_beat(gateway);
	assert_true(liveness_check(gateway, PID));
	assert_true(liveness_check(other, PID));
	assert_false(liveness_check(gateway, PID + 1));
	liveness_close(gateway);
	assert_false(liveness_check(other, PID));
	close(right);
	liveness_close(other);
}

static void several_gateways_live_side_by_side(void **state)
{
	(void)state;
	struct liveness *gateways[20], *other = open_liveness();

	for (int i = 0; i < 20; i++) {
		gateways[i] = open_liveness();
		assert_true(liveness_claim_pid(gateways[i], PID + i));
	}
	for (int i = 0; i < 20; i += 2)
		liveness_close(gateways[i]);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(liveness_check(other, PID + i), i % 2);
		assert_int_equal(liveness_check(gateways[1], PID + i), i % 2);
	}
	for (int i = 1; i < 20; i += 2)
		liveness_close(gateways[i]);
	liveness_close(other);
}

static void one_has_the_right_to_serve(void **state)
{
	(void)state;
	pid_t gateway = start_gateway();
	struct liveness *one = open_liveness(), *two = open_liveness();
	int right;

	assert_int_equal(liveness_claim_service(state_dir, -1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_false(liveness_claim_pid(one, PID));
	assert_true(liveness_check(one, PID)); /* the other one's */
	kill_child(gateway);
	assert_false(liveness_check(one, PID)); /* and not ours */
	right = liveness_claim_service(state_dir, -1);
	assert_true(right >= 0);
	assert_int_equal(liveness_claim_service(state_dir, -1), -1);
	close(right);
	right = liveness_claim_service(state_dir, -1);
	assert_true(right >= 0);
	close(right);
	liveness_close(one);
	liveness_close(two);
}

static void the_right_to_serve_can_be_inherited(void **state)
{
	(void)state;
	struct liveness *one = open_liveness(), *heir = open_liveness(), *other = open_liveness();
	int right = liveness_claim_service(state_dir, -1), inherited = dup(right);

	assert_true(right >= 0);
	assert_true(liveness_claim_pid(one, PID));
	assert_int_equal(liveness_claim_service(state_dir, inherited), inherited);
	close(right);
	liveness_close(one);
	assert_int_equal(liveness_claim_service(state_dir, -1), -1);
	assert_false(liveness_check(other, PID)); /* the right alone */
	close(inherited);
	right = liveness_claim_service(state_dir, -1);
	assert_true(right >= 0);

	/* No file takes it away, and what is inherited of a directory that was replaced is worth
	 * nothing. */
	unlink(path_of("gateway.lock"));
	assert_int_equal(liveness_claim_service(state_dir, right), right);
	assert_int_equal(liveness_claim_service(state_dir, -1), -1);
	assert_int_equal(rename(state_dir, path_of("../old")), 0);
	assert_int_equal(liveness_claim_service(state_dir, right), right); /* there is no other */
	assert_int_equal(mkdir(state_dir, 0700), 0);
	int rival = liveness_claim_service(state_dir, -1);
	assert_true(rival >= 0);
	assert_int_equal(liveness_claim_service(state_dir, right), -1);
	close(rival);
	right = liveness_claim_service(state_dir, -1);
	assert_true(right >= 0);
	close(right);
	liveness_close(heir);
	liveness_close(other);
}

static void who_serves_signs(void **state)
{
	(void)state;
	struct liveness *gateway = open_liveness(), *other = open_liveness();

	assert_int_equal(liveness_server(other), 0);
	liveness_sign(gateway, PID);
	assert_int_equal(liveness_server(other), PID);
	liveness_sign(gateway, INT64_C(1) << 40);
	assert_int_equal(liveness_server(other), 0);
	liveness_close(other);
	liveness_close(gateway);
}

/* Neither "another one has it" nor a right that is not held. */
static void a_right_that_cannot_be_asked_for_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(liveness_claim_service(path_of("nowhere"), -1), -1);
	assert_int_equal(errno, ENOENT);
}

static void a_deleted_file_is_made_anew_with_what_was_in_it(void **state)
{
	(void)state;
	struct liveness *gateway = open_liveness(), *api = open_liveness();

	assert_true(liveness_claim_pid(gateway, PID));
	liveness_sign(gateway, PID);
	liveness_claim_api(api, PID + 1);
	unlink(path_of("gateway.lock"));
	liveness_look_after(api);
	assert_false(liveness_check(api, PID));
	liveness_look_after(gateway);
	assert_true(liveness_check(api, PID));
	assert_int_equal(liveness_server(api), PID);
	assert_int_equal(liveness_count_api(gateway), 1);
	assert_int_equal(liveness_count_api(api), 1);
	liveness_look_after(gateway);
	liveness_look_after(api);
	assert_true(liveness_check(api, PID));
	liveness_close(api);
	liveness_close(gateway);
}

static void the_right_to_serve_is_no_pid(void **state)
{
	(void)state;
	static const int64_t none[] = {
		0, -1, INT64_MIN, INT64_MAX, INT64_MAX / 8, INT64_MAX / 8 + 1, INT64_C(1) << 40,
	};
	struct liveness *gateway = open_liveness(), *other = open_liveness();

	int right = liveness_claim_service(state_dir, -1);

	assert_true(right >= 0);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		assert_false(liveness_exists(other, none[i]));
		assert_false(liveness_check(other, none[i]));
		assert_false(liveness_check(gateway, none[i]));
	}
	close(right);
	liveness_close(other);
	liveness_close(gateway);
}

static void the_file_is_private_and_no_link(void **state)
{
	(void)state;
	mode_t old_mask = umask(0);
	struct liveness *liveness = open_liveness();
	struct stat info;

	umask(old_mask);
	assert_true(liveness_claim_pid(liveness, 4194304)); /* the largest pid of Linux */
	assert_int_equal(stat(path_of("gateway.lock"), &info), 0);
	assert_int_equal(info.st_mode & 07777, 0600);
	assert_int_equal(info.st_size, 0);
	liveness_close(liveness);

	unlink(path_of("gateway.lock"));
	assert_int_equal(symlink("elsewhere", path_of("gateway.lock")), 0);
	assert_null(liveness_open(state_dir));
	assert_int_equal(errno, ELOOP);
	assert_null(liveness_open("/nowhere/at/all"));
	assert_int_equal(errno, ENOENT);
}

static void be_an_api(void *argument)
{
	struct liveness *liveness = liveness_open(state_dir);
	int *pipe_ends = argument;
	char byte = '!';

	MUST(liveness);
	liveness_claim_api(liveness, getpid());
	MUST(write(pipe_ends[1], &byte, 1) == 1);
	pause();
}

static void processes_of_the_api_are_counted_while_they_live(void **state)
{
	(void)state;
	enum { PROCESSES = 9 };
	struct liveness *liveness = open_liveness();
	pid_t children[PROCESSES];
	int pipe_ends[2];
	char byte;

	pid_t gateway = start_gateway();
	assert_int_equal(pipe(pipe_ends), 0);
	assert_int_equal(liveness_count_api(liveness), 0);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = start_child(be_an_api, pipe_ends);
		assert_int_equal(read(pipe_ends[0], &byte, 1), 1);
		assert_int_equal(liveness_count_api(liveness), i + 1);
	}
	liveness_claim_api(liveness, getpid());
	assert_int_equal(liveness_count_api(liveness), PROCESSES + 1);
	assert_true(liveness_check(liveness, PID));
	assert_false(liveness_check(liveness, children[0]));
	assert_true(liveness_is_ours(liveness, PID) && liveness_is_ours(liveness, children[0]));
	assert_false(liveness_is_ours(liveness, PID + 1) || liveness_is_ours(liveness, 0));
	kill_child(gateway);
	for (int i = 0; i < PROCESSES; i++) {
		kill_child(children[(i * 5) % PROCESSES]);
		assert_int_equal(liveness_count_api(liveness), PROCESSES - i);
	}
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	liveness_close(liveness);
}

static void numbers_that_are_no_pid_are_not_counted(void **state)
{
	(void)state;
	static const int64_t wrong[] = {0, -1, INT64_MIN, INT64_MAX, (int64_t)INT32_MAX + 1};
	struct liveness *liveness = open_liveness();

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		liveness_claim_api(liveness, wrong[i]);
		assert_int_equal(liveness_count_api(liveness), 0);
	}
	liveness_claim_api(liveness, INT32_MAX);
	struct liveness *other = open_liveness();
	assert_int_equal(liveness_count_api(other), 1);
	liveness_close(other);
	liveness_close(liveness);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIVENESS_TEST(a_gateway_is_alive_while_its_process_is),
		LIVENESS_TEST(a_gateway_that_hangs_is_not_alive_but_exists),
		LIVENESS_TEST(a_heartbeat_writes_nothing),
		LIVENESS_TEST(a_gateway_sees_itself),
		LIVENESS_TEST(several_gateways_live_side_by_side),
		LIVENESS_TEST(one_has_the_right_to_serve),
		LIVENESS_TEST(the_right_to_serve_can_be_inherited),
		LIVENESS_TEST(who_serves_signs),
		LIVENESS_TEST(a_right_that_cannot_be_asked_for_is_an_error),
		LIVENESS_TEST(a_deleted_file_is_made_anew_with_what_was_in_it),
		LIVENESS_TEST(the_right_to_serve_is_no_pid),
		LIVENESS_TEST(the_file_is_private_and_no_link),
		LIVENESS_TEST(processes_of_the_api_are_counted_while_they_live),
		LIVENESS_TEST(numbers_that_are_no_pid_are_not_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
