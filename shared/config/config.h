/*
 * The configuration: one YAML file (a flat mapping of keys) that both programs read, and the
 * variables of the environment that win over it. An empty variable counts as unset, and a key with
 * an empty value as missing. The table in config_keys.c has each key's type, range, default and
 * variable. Nothing here is logged: messages go to a callback, so that --check-config and the log
 * can both show them.
 */
#ifndef SHARED_CONFIG_H
#define SHARED_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "shared/base/log.h"

enum {
	CONFIG_MAX_BYTES = 1024 * 1024,
	CONFIG_MIN_SECRET_CHARACTERS = 32,
	CONFIG_MAX_FINDINGS = 100,
	CONFIG_LIST_MAX = 1000, /* entries of a list */
	CONFIG_NAME_MAX = 64 /* bytes */
};

/* The value of gateway_processes for "auto": one for each processor. */
enum { CONFIG_PROCESSES_AUTO = 0 };

enum config_durability { CONFIG_DURABILITY_NORMAL, CONFIG_DURABILITY_FULL };

/* What happens to an open connection when its token expires: it is closed, or it stays. */
enum config_token_expiry { CONFIG_TOKEN_EXPIRY_CLOSE, CONFIG_TOKEN_EXPIRY_KEEP };

/* Strings are owned by the struct and never NULL ("" when not given); times are milliseconds. */
struct config {
	char *path; /* the file this came from */
	bool has_file; /* false: there is none, and the environment is enough */
	struct stat seen; /* the file, when it was read; see reload.h */
	int64_t looked_ms; /* monotonic: reload_if_changed has looked then */

	char *ws_bind; /* "": all interfaces; an address; "unix:/path" */
	int64_t ws_port;
	int64_t ws_socket_mode; /* permission bits of a UNIX ws_bind */
	char *internal_bind;
	int64_t internal_port;
	char *worker_secret;
	char *worker_secret_previous; /* "": none */
	char *redis_url; /* as of shared/contract/redis_url.h; "": not in a cluster */
	char *redis_ca; /* path of a file; "": the certificates of the system */
	char *node_name; /* "": the name of the host */
	int64_t topic_ttl_ms;
	char *state_dir;

	int64_t event_retention_ms;
	int64_t event_limit; /* rows */
	int64_t max_topics;
	int64_t database_max_bytes;
	int64_t disk_reserve; /* bytes; 0: none */
	enum config_durability durability;
	int64_t busy_timeout_ms;
	char *trusted_proxies; /* addresses and CIDR blocks, comma-separated, no spaces */
	int64_t gateway_processes;
	bool gateway_autostart; /* the API starts a gateway when there is none */
	int64_t gateway_idle_exit_ms; /* without a connection; 0: it never ends by itself */
	int64_t gateway_log_max_bytes; /* of gateway.log */
	int64_t outbox_max_frames; /* queued frames of a connection */
	int64_t outbox_max_bytes; /* queued bytes of a connection */
	int64_t outbox_total_max_bytes; /* queued bytes of all connections */
	int64_t max_connections; /* 0: what the descriptor limit allows */
	int64_t max_connections_per_address; /* 0: no limit */
	int64_t max_unauthenticated; /* handshakes included; 0: an eighth of max_connections */
	int64_t handshake_timeout_ms; /* of the request, and again of the first frame */
	int64_t message_rate; /* messages a second from one client; 0: no limit */
	int64_t poll_rate; /* polls a second from one address; 0: no limit */
	char *allowed_origins; /* as of shared/contract/origin.h, comma-separated; "": any */
	enum config_token_expiry token_expiry;
	int64_t drain_ms; /* >= 1 */
	enum log_level log_level;
	bool log_connections; /* a log line for each connect and disconnect */
};

/* Called once for each finding: first YAML that we do not support, then keys and values in the
 * order of the file, then the environment, whose `file` is "environment". `line` is 1-based; 0:
 * none. After CONFIG_MAX_FINDINGS the last one says that there are more. */
typedef void config_report(void *context, bool is_error, const char *file, size_t line,
			   const char *message);

/* The file to use: `option` when not NULL, else $WAVELOG_WORKER_CONFIG, else config.yaml in the
 * working directory if it exists, else /etc/wavelog-worker/config.yaml. Borrowed or constant; do
 * not free. */
const char *config_path(const char *option);

/* Reads the file and the environment. Returns a config to free with config_free, or NULL after
 * reporting at least one error: as many faults as can be found, not just the first. Messages name
 * the key or variable and what is expected, never a value's text. A missing file is an error,
 * unless the environment has what is required. */
struct config *config_load(const char *path, config_report *report, void *context);

/* The same with the file's text in memory; `path` is the name for the messages. */
struct config *config_parse(const char *text, size_t len, const char *path, config_report *report,
			    void *context);

/* NULL is allowed. */
void config_free(struct config *config);

/* Writes every key and the value in use as YAML that config_load accepts, except that secrets are
 * comments that say "hidden". A comment names the variable from which a value comes. */
void config_print(const struct config *config, FILE *out);

#endif
