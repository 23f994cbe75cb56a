/*
 * The table of configuration keys: the one place that knows their names, ranges and defaults. Const
 * data, in the order in which the keys are printed; config.sample.yaml says what each is for. See
 * config_internal.h for how to add one.
 */
#include "shared/config/config_internal.h"

/* A key's name and its field. */
#define KEY(key) .name = #key, FIELD(key)
#define KEY_MS(key) .name = #key, FIELD(key##_ms)
#define FIELD(field) .offset = offsetof(struct config, field), sizeof(((struct config *)0)->field)

#define RESTART .needs_restart = true

static const char *const durabilities[] = {"normal", "full", NULL}; /* enum config_durability */
static const char *const levels[] = {"error", "warn", "info", "debug", NULL}; /* enum log_level */
static const char *const expiries[] = {"close", "keep", NULL}; /* enum config_token_expiry */

/* A choice is stored through an unsigned int, whatever its enum. */
_Static_assert(sizeof(enum log_level) == sizeof(unsigned int), "an enum is an int");

enum { SECOND = 1000, MINUTE = 60 * SECOND };
enum { KIB = 1024, MIB = 1024 * KIB, GIB = 1024 * MIB };
enum { PORTS = 65535, ROWS = 1000000000, CONNECTIONS = 10000000 };

const struct config_key config_keys[] = {
	{KEY(worker_secret), CONFIG_SECRET, .environment = "WORKER_SECRET"},
	{KEY(worker_secret_previous), CONFIG_SECRET, ""},
	{KEY(state_dir), CONFIG_DIRECTORY, "/var/lib/wavelog-worker", RESTART},
	{KEY(ws_bind), CONFIG_LISTEN, "", .environment = "WORKER_WS_BIND", RESTART},
	{KEY(ws_port), CONFIG_INTEGER, "9000", 1, PORTS, .environment = "WORKER_WS_PORT", RESTART},
	{KEY(ws_socket_mode), CONFIG_MODE, "0660", 0, 0777, RESTART},
	{KEY(internal_bind), CONFIG_ADDRESS, "127.0.0.1", .environment = "WORKER_INTERNAL_BIND",
	 RESTART},
	{KEY(internal_port), CONFIG_INTEGER, "9001", 1, PORTS,
	 .environment = "WORKER_INTERNAL_PORT", RESTART},
	{KEY(trusted_proxies), CONFIG_ADDRESS_LIST, ""},
	{KEY_MS(topic_ttl), CONFIG_DURATION, "24h", 1, INT64_MAX,
	 .environment = "WORKER_TOPIC_TTL"},
	{KEY_MS(event_retention), CONFIG_DURATION, "1h", 1, INT64_MAX},
	{KEY(event_limit), CONFIG_INTEGER, "100000", 1, ROWS},
	{KEY(max_topics), CONFIG_INTEGER, "1000000", 1, ROWS},
	{KEY(database_max_bytes), CONFIG_INTEGER, "1073741824", 16 * MIB, 1024 * (int64_t)GIB,
	 RESTART},
	{KEY(disk_reserve), CONFIG_INTEGER, "8388608", 0, GIB},
	{KEY(durability), CONFIG_CHOICE, "normal", .choices = durabilities, RESTART},
	{KEY_MS(busy_timeout), CONFIG_DURATION, "700ms", 1, 900},
	{KEY(max_connections), CONFIG_INTEGER, "0", 0, CONNECTIONS, RESTART},
	{KEY(max_connections_per_address), CONFIG_INTEGER, "0", 0, CONNECTIONS},
	{KEY(max_unauthenticated), CONFIG_INTEGER, "0", 0, CONNECTIONS, RESTART},
	{KEY_MS(handshake_timeout), CONFIG_DURATION, "10s", 100, MINUTE},
	{KEY(message_rate), CONFIG_INTEGER, "20", 0, 100000},
	{KEY(poll_rate), CONFIG_INTEGER, "100", 0, 100000},
	{KEY(allowed_origins), CONFIG_ORIGIN_LIST, ""},
	{KEY(token_expiry), CONFIG_CHOICE, "close", .choices = expiries},
	{KEY(gateway_processes), CONFIG_INTEGER, "1", 1, 64, .zero_word = "auto", RESTART},
	{KEY(gateway_autostart), CONFIG_BOOLEAN, "false"},
	{KEY_MS(gateway_idle_exit), CONFIG_DURATION, "off", SECOND, INT64_MAX, .zero_word = "off"},
	{KEY(gateway_log_max_bytes), CONFIG_INTEGER, "1048576", KIB, GIB},
	{KEY(outbox_max_frames), CONFIG_INTEGER, "1000", 1, 1000000},
	{KEY(outbox_max_bytes), CONFIG_INTEGER, "4194304", KIB, GIB},
	{KEY(outbox_total_max_bytes), CONFIG_INTEGER, "67108864", KIB, 1024 * (int64_t)GIB},
	{KEY_MS(drain), CONFIG_DURATION, "1s", 1, 5 * MINUTE},
	{KEY(log_level), CONFIG_CHOICE, "info", .choices = levels},
	{KEY(log_connections), CONFIG_BOOLEAN, "false"},
	{KEY(redis_url), CONFIG_URL, "", .environment = "WORKER_REDIS_URL", RESTART},
	{KEY(redis_ca), CONFIG_FILE, "", RESTART},
	{KEY(node_name), CONFIG_NAME, "", RESTART},
	{0},
};

const char *config_environment(const struct config_key *key)
{
	const char *text = key->environment ? getenv(key->environment) : NULL;

	return text && *text ? text : NULL;
}
