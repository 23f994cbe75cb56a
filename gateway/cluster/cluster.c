/*
 * The thread and its modules, wired: see cluster.h. State: in the struct of cluster_internal.h. The
 * thread waits for its loop, and for the write lock a moment at a time. What fails here costs the
 * cluster, never the gateway.
 */
#include "gateway/cluster/cluster.h"

#include "gateway/cluster/channel.h"
#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/intake.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/questions.h"
#include "gateway/cluster/reader.h"
#include "gateway/cluster/relay.h"
#include "gateway/cluster/replies.h"
#include "gateway/cluster/roster.h"
#include "gateway/cluster/store.h"
#include "gateway/cluster/topics.h"
#include "gateway/cluster/wire.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/state_dir.h"
#include "shared/database/write_lock.h"

#define LOCK_NAME "relay.lock"

enum {
	TICK_MS = 1000,
	FIRST_TICK_MS = 150, /* by then a predecessor has given up the link */
	FINISH_MS = 500,
	FINISH_LOOK_MS = 5 /* and not each second */
};

/* Of this node's processes one is the relay: whoever holds the lock, on the file that is there. */
static bool hold_lock(struct cluster *cluster)
{
	int fd;

	if (held_file_look(&cluster->lock_file) != HELD_FILE_IN_PLACE || cluster->lock < 0) {
		fd = write_lock_open(cluster->lock_file.path);
		if (cluster->lock >= 0)
			close(cluster->lock);
		cluster->lock = fd;
		held_file_take_open(&cluster->lock_file, fd, cluster->lock_file.path, LOCK_NAME,
				    0600);
	}
	return cluster->lock >= 0 && write_lock_try(cluster->lock);
}

static void on_open(struct cluster *cluster, enum log_verdict verdict, struct log_position newest)
{
	static const char *const verdicts[] = {
		[LOG_FIRST_TIME] = "first time",	   [LOG_GOES_ON] = "goes on",
		[LOG_TRIMMED] = "has been trimmed",	   [LOG_LOST] = "was lost",
		[LOG_UNREAD] = "was lost, and is read on",
	};

	cluster->is_up = true;
	cluster->must_give =
		verdict == LOG_LOST || verdict == LOG_UNREAD || verdict == LOG_FIRST_TIME;
	if (verdict != LOG_GOES_ON || !cluster->has_been_up)
		log_event(verdict == LOG_LOST ? LOG_WARN : LOG_INFO, "Redis is reached",
			  log_text("log", verdicts[verdict]));
	cluster->has_been_up = true;
	reader_on_link(cluster->reader, verdict, newest);
}

static void on_caught_up(struct cluster *cluster)
{
	struct cluster_state *state = cluster_store_state(cluster->store);

	/* Once that is noted, what Redis does not have is gone. */
	if (!topics_give(cluster->topics, cluster->must_give)) {
		link_drop(cluster->link, "the database cannot be written");
		return;
	}
	snprintf(state->marker, sizeof(state->marker), "%s", link_marker(cluster->link));
	cluster_store_flush(cluster->store); /* or with the next commit */
	relay_on_link(cluster->relay);
	topics_on_link(cluster->topics);
	channel_on_link(cluster->channel);
	roster_on_link(cluster->roster);
}

static void leave_link(struct cluster *cluster, bool was_too_long)
{
	if (!cluster->is_up)
		return;
	cluster->is_up = false;
	roster_on_link_lost(cluster->roster);
	channel_on_link_lost(cluster->channel);
	topics_on_link_lost(cluster->topics);
	relay_on_link_lost(cluster->relay);
	reader_on_link_lost(cluster->reader, was_too_long);
}

static void on_lost(struct cluster *cluster, const char *why)
{
	leave_link(cluster, strncmp(why, REPLY_FAULT, strlen(REPLY_FAULT)) == 0);
	cluster_store_tell(cluster->store, -1, why);
	cluster_store_flush(cluster->store);
}

static void on_message(struct cluster *cluster, const char *channel, const redisReply *message)
{
	if (strcmp(channel, CLUSTER_EVENTS) == 0)
		channel_on_message(cluster->channel, message->element[2]);
	else if (strcmp(channel, CLUSTER_INVALIDATED) == 0)
		topics_on_invalidation(cluster->topics, message->element[2]);
}

static const struct link_handlers link_handlers = {
	.on_open = on_open, .on_lost = on_lost, .on_message = on_message};

static void lose_role(struct cluster *cluster)
{
	if (!cluster->is_relay)
		return;
	link_stop(cluster->link);
	leave_link(cluster, false);
	cluster_store_flush(cluster->store);
	cluster_store_unload(cluster->store);
	write_lock_release(cluster->lock);
	cluster->is_relay = false;
}

static void take_role(struct cluster *cluster)
{
	if (cluster->is_relay || cluster->is_draining || !hold_lock(cluster))
		return;
	if (cluster_store_load(cluster->store) != DATABASE_OK) {
		write_lock_release(cluster->lock); /* and again in a second */
		return;
	}
	cluster->is_relay = true;
	relay_on_load(cluster->relay);
	topics_on_load(cluster->topics);
	link_start(cluster->link);
}

/* A database with another history may have been put there; somebody may have deleted the lock. */
static void look_after_role(struct cluster *cluster)
{
	int times_lost;

	database_look_after(cluster->database, 0);
	times_lost = database_times_lost(cluster->database);
	if (times_lost != cluster->times_lost ||
	    cluster_store_state(cluster->store)->is_overtaken ||
	    (cluster->is_relay && !hold_lock(cluster)))
		lose_role(cluster);
	cluster->times_lost = times_lost;
	take_role(cluster);
}

static void on_tick(uv_timer_t *timer)
{
	struct cluster *cluster = timer->data;

	look_after_role(cluster);
	link_on_tick(cluster->link);
	relay_on_tick(cluster->relay);
	topics_on_tick(cluster->topics);
	roster_on_tick(cluster->roster);
	refused_tick(&cluster->refused, false);
	cluster_store_flush(cluster->store);
}

/* Its handles close, and the loop ends. */
static void close_all(struct cluster *cluster)
{
	cluster_store_flush(cluster->store);
	roster_free(cluster->roster);
	channel_free(cluster->channel);
	topics_free(cluster->topics);
	relay_free(cluster->relay);
	reader_free(cluster->reader);
	link_free(cluster->link);
	refused_tick(&cluster->refused, true);
	uv_close((uv_handle_t *)&cluster->tapped, NULL);
	uv_close((uv_handle_t *)&cluster->tick, NULL);
}

static void on_pong(void *context, const redisReply *reply)
{
	struct cluster *cluster = context;

	(void)reply;
	cluster->is_answered = true;
}

/* The last batch, and then a question: when that is answered, all before it has been done. */
static void on_finish(uv_timer_t *timer)
{
	struct cluster *cluster = timer->data;
	struct redis *redis = link_commands(cluster->link);

	relay_look(cluster->relay);
	if (redis && relay_is_idle(cluster->relay) && !cluster->has_asked) {
		cluster->has_asked = true;
		roster_leave(cluster->roster);
		redis_ask(redis, on_pong, cluster, "PING");
	}
	if (redis && !cluster->is_answered && clock_monotonic_ms() < cluster->finish_ms)
		return;
	lose_role(cluster);
	if (cluster->is_ending)
		close_all(cluster);
	else
		uv_timer_start(&cluster->tick, on_tick, TICK_MS, TICK_MS);
}

static void on_tapped(uv_async_t *async)
{
	struct cluster *cluster = async->data;

	relay_look(cluster->relay);
	topics_on_tap(cluster->topics);
	if (!cluster->is_draining)
		return;
	if (cluster->is_relay && !cluster->finish_ms) {
		cluster->finish_ms = clock_monotonic_ms() + FINISH_MS;
		uv_timer_start(&cluster->tick, on_finish, 0, FINISH_LOOK_MS);
	} else if (!cluster->is_relay && cluster->is_ending) {
		close_all(cluster);
	}
}

static void *run(void *argument)
{
	struct cluster *cluster = argument;

	take_role(cluster);
	uv_run(&cluster->loop, UV_RUN_DEFAULT);
	return NULL;
}

static void on_answered(uv_async_t *async)
{
	struct cluster *cluster = async->data;

	questions_deliver(cluster->questions);
}

/* What is on the thread's loop, before the thread; and the gateway's end of it. */
static void open_loops(struct cluster *cluster, struct uv_loop_s *loop)
{
	uv_async_init(&cluster->loop, &cluster->tapped, on_tapped);
	uv_timer_init(&cluster->loop, &cluster->tick);
	uv_timer_start(&cluster->tick, on_tick, FIRST_TICK_MS, TICK_MS);
	uv_async_init(loop, &cluster->answered, on_answered);
	cluster->tapped.data = cluster->tick.data = cluster->answered.data = cluster;
	cluster->questions = questions_new(&cluster->tapped, &cluster->answered);
}

static void draw_instance(char instance[CLUSTER_NODE_SIZE])
{
	uint64_t number = (uint64_t)clock_wall_us() ^ (uint64_t)getpid() << 40;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number ^= (uint64_t)clock_monotonic_us() << 20;
	snprintf(instance, CLUSTER_NODE_SIZE, "%016llx", (unsigned long long)number);
}

/* What it cannot be without. NULL with the reason in `why`. */
static struct cluster *begin_cluster(const struct config *config, char why[DATABASE_WHY_SIZE])
{
	struct cluster *cluster = xcalloc(1, sizeof(*cluster));
	int result;

	cluster->server = redis_server_new(config->redis_url, config->redis_ca, why);
	if (cluster->server)
		cluster->database = database_open(config, DATABASE_START_WAIT_MS, why);
	if (cluster->database) {
		result = uv_loop_init(&cluster->loop);
		if (result == 0)
			return cluster;
		snprintf(why, DATABASE_WHY_SIZE, "a thread of its own: %s", uv_strerror(result));
	}
	database_close(cluster->database);
	redis_server_free(cluster->server);
	free(cluster);
	return NULL;
}

bool cluster_open(struct cluster **out, const struct config *config, struct liveness *liveness,
		  struct uv_loop_s *loop, char why[DATABASE_WHY_SIZE])
{
	char lock_path[STATE_DIR_PATH_SIZE];
	struct cluster *cluster = config->redis_url[0] ? begin_cluster(config, why) : NULL;

	*out = NULL;
	if (!cluster)
		return !config->redis_url[0];
	cluster->liveness = liveness;
	cluster->notify = notify_new(config->state_dir);
	cluster_configure(cluster, config);
	cluster->lock = -1;
	draw_instance(cluster->instance);
	refused_init(&cluster->refused, &cluster->counters);
	if (config->node_name[0])
		snprintf(cluster->name, sizeof(cluster->name), "%s", config->node_name);
	else
		gethostname(cluster->name, sizeof(cluster->name) - 1);
	state_dir_file(config->state_dir, LOCK_NAME, lock_path);
	held_file_take(&cluster->lock_file, lock_path, LOCK_NAME, 0600);
	open_loops(cluster, loop);
	cluster->store = cluster_store_new(cluster->database, &cluster->counters);
	cluster->intake = intake_new(cluster->database);
	cluster->node = cluster_store_state(cluster->store)->node;
	cluster->link = link_new(cluster, &link_handlers);
	cluster->reader = reader_new(cluster, on_caught_up);
	cluster->relay = relay_new(cluster);
	cluster->topics = topics_new(cluster);
	cluster->channel = channel_new(cluster);
	cluster->roster = roster_new(cluster);
	*out = cluster;
	if (database_is_prepared(cluster->database, why))
		return true;
	cluster_close(cluster);
	*out = NULL;
	return false;
}

void cluster_start(struct cluster *cluster)
{
	if (!cluster)
		return;
	if (pthread_create(&cluster->id, NULL, run, cluster) != 0)
		end_for_want_of("threads");
	cluster->is_started = true;
}

void cluster_configure(struct cluster *cluster, const struct config *config)
{
	if (!cluster)
		return;
	cluster->settings.event_limit = config->event_limit;
	cluster->settings.event_retention_ms = config->event_retention_ms;
	cluster->settings.max_topics = config->max_topics;
}

void cluster_tap(struct cluster *cluster)
{
	if (cluster)
		uv_async_send(&cluster->tapped);
}

struct questions *cluster_questions(struct cluster *cluster)
{
	return cluster ? cluster->questions : NULL;
}

void cluster_drain(struct cluster *cluster)
{
	if (!cluster)
		return;
	cluster->is_draining = true;
	cluster_tap(cluster);
}

static void free_cluster(uv_handle_t *handle)
{
	struct cluster *cluster = handle->data;

	questions_free(cluster->questions);
	free(cluster);
}

void cluster_close(struct cluster *cluster)
{
	if (!cluster)
		return;
	cluster->is_ending = true;
	cluster_drain(cluster);
	if (cluster->is_started)
		pthread_join(cluster->id, NULL);
	else
		uv_run(&cluster->loop, UV_RUN_DEFAULT);
	uv_loop_close(&cluster->loop);
	if (cluster->lock >= 0)
		close(cluster->lock);
	held_file_release(&cluster->lock_file);
	cluster_store_free(cluster->store);
	intake_free(cluster->intake);
	database_close(cluster->database);
	redis_server_free(cluster->server);
	notify_free(cluster->notify);
	uv_close((uv_handle_t *)&cluster->answered, free_cluster);
}
