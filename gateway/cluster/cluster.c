/*
 * The thread and its modules, wired: see cluster.h. State: in the struct of cluster_internal.h. The
 * thread waits for its loop, and for the write lock a moment at a time. What fails here costs the
 * cluster, never the gateway.
 */
#include "gateway/cluster/cluster.h"

#include "gateway/cluster/cluster_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/held_file.h"
#include "shared/base/state_dir.h"
#include "shared/counters/totals.h"
#include "shared/database/write_lock.h"

#define LOCK_NAME "relay.lock"

enum { TICK_MS = 1000 };

/* Numbers only: the texts need a restart to change. */
static void copy_numbers(struct cluster_settings *to, const struct cluster_settings *from)
{
	to->topic_ttl_ms = from->topic_ttl_ms;
	to->event_limit = from->event_limit;
	to->event_retention_ms = from->event_retention_ms;
}

static struct cluster_settings settings_of(const struct config *config)
{
	return (struct cluster_settings){
		.redis_url = config->redis_url,
		.topic_ttl_ms = config->topic_ttl_ms,
		.event_limit = config->event_limit,
		.event_retention_ms = config->event_retention_ms,
	};
}

static void on_tapped(uv_async_t *async)
{
	(void)async;
}

/* Of this node's processes one is the relay: whoever holds the lock. */
static void take_or_lose_role(struct cluster *cluster)
{
	bool may_have = !cluster->is_drained;

	if (may_have && !cluster->is_relay)
		cluster->is_relay = cluster->lock >= 0 && write_lock_try(cluster->lock);
	if (!may_have && cluster->is_relay) {
		write_lock_release(cluster->lock);
		cluster->is_relay = false;
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct cluster *cluster = timer->data;

	pthread_mutex_lock(&cluster->mutex);
	copy_numbers(&cluster->settings, &cluster->next_settings);
	pthread_mutex_unlock(&cluster->mutex);
	database_look_after(cluster->database, 0);
	take_or_lose_role(cluster);
}

static void on_told(uv_async_t *async)
{
	struct cluster *cluster = async->data;

	pthread_mutex_lock(&cluster->mutex);
	bool is_ending = cluster->is_ending;
	cluster->is_drained |= cluster->is_draining;
	pthread_mutex_unlock(&cluster->mutex);
	take_or_lose_role(cluster);
	if (!is_ending)
		return;
	uv_close((uv_handle_t *)&cluster->tapped, NULL); /* and the loop ends */
	uv_close((uv_handle_t *)&cluster->told, NULL);
	uv_close((uv_handle_t *)&cluster->tick, NULL);
}

static void *run(void *argument)
{
	struct cluster *cluster = argument;

	take_or_lose_role(cluster);
	uv_run(&cluster->loop, UV_RUN_DEFAULT);
	return NULL;
}

static void on_answered(uv_async_t *async)
{
	(void)async;
}

/* The thread's loop, before the thread; and the gateway's end of it. */
static void open_loops(struct cluster *cluster, struct uv_loop_s *loop)
{
	uv_loop_init(&cluster->loop);
	uv_async_init(&cluster->loop, &cluster->tapped, on_tapped);
	uv_async_init(&cluster->loop, &cluster->told, on_told);
	uv_timer_init(&cluster->loop, &cluster->tick);
	uv_timer_start(&cluster->tick, on_tick, TICK_MS, TICK_MS);
	uv_async_init(loop, &cluster->answered, on_answered);
	cluster->tapped.data = cluster->told.data = cluster->tick.data = cluster->answered.data =
		cluster;
	pthread_mutex_init(&cluster->mutex, NULL);
}

static void draw_instance(char instance[CLUSTER_NODE_SIZE])
{
	uint64_t number = (uint64_t)clock_wall_us() ^ (uint64_t)getpid() << 40;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number ^= (uint64_t)clock_monotonic_us() << 20;
	snprintf(instance, CLUSTER_NODE_SIZE, "%016llx", (unsigned long long)number);
}

bool cluster_open(struct cluster **out, const struct config *config, struct liveness *liveness,
		  struct uv_loop_s *loop, char why[DATABASE_WHY_SIZE])
{
	char lock_path[STATE_DIR_PATH_SIZE];
	struct database *database;
	struct cluster *cluster;

	*out = NULL;
	if (!config->redis_url[0])
		return true;
	database = database_open(config, DATABASE_START_WAIT_MS, why);
	if (!database)
		return false;
	cluster = xcalloc(1, sizeof(*cluster));
	cluster->database = database;
	cluster->liveness = liveness;
	cluster->notify = notify_new(config->state_dir);
	cluster->totals = totals_new(database);
	cluster->settings = settings_of(config);
	cluster->settings.redis_url = xstrdup(config->redis_url);
	cluster->next_settings = settings_of(config);
	draw_instance(cluster->instance);
	cluster->lock = state_dir_file(config->state_dir, LOCK_NAME, lock_path)
				? write_lock_open(lock_path)
				: -1;
	cluster->lock_path = xstrdup(lock_path);
	open_loops(cluster, loop);
	*out = cluster;
	if (database_is_prepared(database, why))
		return true;
	cluster_close(cluster);
	*out = NULL;
	return false;
}

void cluster_start(struct cluster *cluster)
{
	if (!cluster)
		return;
	if (pthread_create(&cluster->id, NULL, run, cluster) != 0) {
		fputs("cannot start a thread\n", stderr);
		abort();
	}
	cluster->is_started = true;
}

void cluster_configure(struct cluster *cluster, const struct config *config)
{
	const struct cluster_settings settings = settings_of(config);

	if (!cluster)
		return;
	pthread_mutex_lock(&cluster->mutex);
	copy_numbers(&cluster->next_settings, &settings);
	pthread_mutex_unlock(&cluster->mutex);
}

void cluster_tap(struct cluster *cluster)
{
	if (cluster)
		uv_async_send(&cluster->tapped);
}

void cluster_drain(struct cluster *cluster)
{
	if (!cluster)
		return;
	pthread_mutex_lock(&cluster->mutex);
	cluster->is_draining = true;
	pthread_mutex_unlock(&cluster->mutex);
	uv_async_send(&cluster->told);
}

static void free_cluster(uv_handle_t *handle)
{
	struct cluster *cluster = handle->data;

	pthread_mutex_destroy(&cluster->mutex);
	free(cluster->settings.redis_url);
	free(cluster->lock_path);
	free(cluster);
}

void cluster_close(struct cluster *cluster)
{
	if (!cluster)
		return;
	pthread_mutex_lock(&cluster->mutex);
	cluster->is_ending = true;
	pthread_mutex_unlock(&cluster->mutex);
	uv_async_send(&cluster->told);
	if (cluster->is_started)
		pthread_join(cluster->id, NULL);
	else
		run(cluster);
	uv_loop_close(&cluster->loop);
	if (cluster->lock >= 0)
		close(cluster->lock);
	totals_free(cluster->totals);
	database_close(cluster->database);
	notify_free(cluster->notify);
	uv_close((uv_handle_t *)&cluster->answered, free_cluster);
}
