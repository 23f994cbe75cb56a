/*
 * The table of configuration keys: the one place that knows their names, ranges and defaults. Const
 * data, in the order in which the keys are printed. See config_key.h for how to add one.
 */
#include "shared/config_key.h"

#define FIELD(name) offsetof(struct config, name)

static const char *const durabilities[] = {"normal", "full", NULL}; /* enum config_durability */
static const char *const levels[] = {"error", "warn", "info", "debug", NULL}; /* enum log_level */

enum { SECOND = 1000, KIB = 1024, MIB = 1024 * KIB };

const struct config_key config_keys[] = {
	{.name = "worker_secret",
	 .help = "What the backend proves itself with and signs tokens with: at least 32 "
		 "characters.",
	 .type = CONFIG_SECRET,
	 .offset = FIELD(worker_secret)},
	{.name = "state_dir",
	 .help = "Directory of the database and the sockets, made with mode 0700 when missing.",
	 .type = CONFIG_DIRECTORY,
	 .offset = FIELD(state_dir),
	 .default_text = "/var/lib/wavelog-worker"},
	{.name = "ws_bind",
	 .help = "Address the gateway listens on; empty: all interfaces; \"unix:/path\": a UNIX "
		 "socket.",
	 .type = CONFIG_LISTEN,
	 .offset = FIELD(ws_bind),
	 .default_text = ""},
	{.name = "ws_port",
	 .help = "TCP port the gateway listens on.",
	 .type = CONFIG_INTEGER,
	 .offset = FIELD(ws_port),
	 .default_text = "9000",
	 .min = 1,
	 .max = 65535},
	{.name = "ws_socket_mode",
	 .help = "Permission bits of the socket when ws_bind is \"unix:/path\", in octal.",
	 .type = CONFIG_MODE,
	 .offset = FIELD(ws_socket_mode),
	 .default_text = "0660",
	 .max = 0777},
	{.name = "internal_bind",
	 .help = "Address of the internal API. The web server listens there, not this program: "
		 "`make run`\n"
		 "sets its web server up with it.",
	 .type = CONFIG_ADDRESS,
	 .offset = FIELD(internal_bind),
	 .default_text = "127.0.0.1"},
	{.name = "internal_port",
	 .help = "TCP port of the internal API, as internal_bind.",
	 .type = CONFIG_INTEGER,
	 .offset = FIELD(internal_port),
	 .default_text = "9001",
	 .min = 1,
	 .max = 65535},
	{.name = "trusted_proxies",
	 .help = "Proxies whose X-Forwarded-For is believed: addresses and CIDR blocks, a list or "
		 "separated\n"
		 "by commas. Loopback and a UNIX socket always are.",
	 .type = CONFIG_ADDRESS_LIST,
	 .offset = FIELD(trusted_proxies),
	 .default_text = ""},
	{.name = "topic_ttl",
	 .help = "How long a topic lives after it was last registered.",
	 .type = CONFIG_DURATION,
	 .offset = FIELD(topic_ttl_ms),
	 .default_text = "24h",
	 .min = 1,
	 .max = INT64_MAX},
	{.name = "event_retention",
	 .help = "How long events are kept for clients that resume.",
	 .type = CONFIG_DURATION,
	 .offset = FIELD(event_retention_ms),
	 .default_text = "1h",
	 .min = 1,
	 .max = INT64_MAX},
	{.name = "event_limit",
	 .help = "How many events are kept at most; older ones go first.",
	 .type = CONFIG_INTEGER,
	 .offset = FIELD(event_limit),
	 .default_text = "100000",
	 .min = 1,
	 .max = 1000000000},
	{.name = "durability",
	 .help = "normal: a power cut may lose the last moments, a crash of the programs loses "
		 "nothing;\n"
		 "full: every commit waits for the disk.",
	 .type = CONFIG_CHOICE,
	 .offset = FIELD(durability),
	 .default_text = "normal",
	 .choices = durabilities},
	{.name = "busy_timeout",
	 .help = "How long a request waits for the database before it is answered with 503: at "
		 "most 900ms,\n"
		 "because callers give up after a second.",
	 .type = CONFIG_DURATION,
	 .offset = FIELD(busy_timeout_ms),
	 .default_text = "700ms",
	 .min = 1,
	 .max = 900},
	{.name = "max_connections",
	 .help = "Most WebSocket connections at a time; 0: what the descriptor limit allows.",
	 .type = CONFIG_INTEGER,
	 .offset = FIELD(max_connections),
	 .default_text = "0",
	 .max = 10000000},
	{.name = "outbox_max_frames",
	 .help = "Most frames that wait for one slow connection; then the oldest are dropped.",
	 .type = CONFIG_INTEGER,
	 .offset = FIELD(outbox_max_frames),
	 .default_text = "1000",
	 .min = 1,
	 .max = 1000000},
	{.name = "outbox_max_bytes",
	 .help = "Most bytes that wait for one slow connection; then the oldest frames are "
		 "dropped.",
	 .type = CONFIG_INTEGER,
	 .offset = FIELD(outbox_max_bytes),
	 .default_text = "4194304",
	 .min = KIB,
	 .max = 1024 * (int64_t)MIB},
	{.name = "outbox_total_max_bytes",
	 .help = "Most bytes that wait for all slow connections together; a frame that many wait "
		 "for counts\n"
		 "once. Then connections that are behind are closed with 1013.",
	 .type = CONFIG_INTEGER,
	 .offset = FIELD(outbox_total_max_bytes),
	 .default_text = "67108864",
	 .min = KIB,
	 .max = 1024 * 1024 * (int64_t)MIB},
	{.name = "log_level",
	 .help = "Least important lines that are logged: error, warn, info or debug.",
	 .type = CONFIG_CHOICE,
	 .offset = FIELD(log_level),
	 .default_text = "info",
	 .choices = levels},
	{.name = "log_connections",
	 .help = "A log line for each connect and disconnect.",
	 .type = CONFIG_BOOLEAN,
	 .offset = FIELD(log_connections),
	 .default_text = "false"},
	{.name = "redis_url",
	 .help = "Not used yet: clusters are not supported by this version.",
	 .type = CONFIG_URL,
	 .offset = FIELD(redis_url),
	 .default_text = ""},
	{0},
};

_Static_assert(sizeof(config_keys) / sizeof(config_keys[0]) <= CONFIG_KEY_MAX,
	       "raise CONFIG_KEY_MAX");
