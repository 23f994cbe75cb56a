/*
 * Any bytes as the configuration file, alone and with a secret after them. There is a
 * configuration or an error, never both or neither; a finding is a line of plain text that never
 * shows the secret; what is taken keeps the promises of config.h, and printed it is taken again and
 * is the same.
 */
#include "tests/fuzz/fuzz.h"

#include "shared/config/config.h"

#define SECRET_LINE "\nworker_secret: \"never to be seen, not even a part of it\"\n"
#define SHORT_LINE "\nworker_secret: never to be seen\n"
#define MARK "never to be seen"

struct findings {
	size_t errors;
};

static void take(void *context, bool is_error, const char *file, size_t line, const char *message)
{
	struct findings *findings = context;

	findings->errors += is_error;
	assert(strcmp(file, "file") == 0 && line < CONFIG_MAX_BYTES && message[0] != '\0');
	assert(!strstr(message, MARK));
	for (const char *at = message; *at; at++)
		assert((unsigned char)*at >= ' ' && *at != 0x7F);
}

static struct config *parse(const char *text, size_t len)
{
	struct findings findings = {0};
	struct config *config = config_parse(text, len, "file", take, &findings);

	assert((config != NULL) == (findings.errors == 0));
	return config;
}

static char *join(const char *text, size_t len, const char *end)
{
	char *joined = malloc(len + strlen(end));

	assert(joined);
	memcpy(joined, text, len);
	memcpy(joined + len, end, strlen(end));
	return joined;
}

static struct config *parse_joined(const char *text, size_t len, const char *end)
{
	char *joined = join(text, len, end);
	struct config *config = parse(joined, len + strlen(end));

	free(joined);
	return config;
}

/* The caller frees it. */
static char *print(const struct config *config, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	assert(out);
	config_print(config, out);
	fclose(out);
	assert(!memmem(text, *len, MARK, strlen(MARK)));
	return text;
}

static void check_promises(const struct config *config)
{
	assert(strlen(config->worker_secret) >= CONFIG_MIN_SECRET_CHARACTERS);
	assert(config->ws_port > 0 && config->ws_port <= 65535);
	assert(config->internal_port > 0 && config->internal_port <= 65535);
	assert(config->ws_socket_mode >= 0 && config->ws_socket_mode <= 0777);
	assert(config->topic_ttl_ms > 0 && config->event_retention_ms > 0 &&
	       config->event_limit > 0);
	assert(config->busy_timeout_ms >= 1 && config->busy_timeout_ms <= 900);
	assert(config->outbox_max_frames > 0 && config->outbox_max_bytes > 0);
	assert(config->max_connections >= 0 && config->state_dir[0] == '/');
	assert(config->outbox_total_max_bytes > 0 && config->max_topics > 0);
	assert(config->handshake_timeout_ms > 0 && config->drain_ms > 0);
	assert(config->gateway_processes >= 0 && config->message_rate >= 0);
	assert(config->ws_bind && config->internal_bind && config->redis_url &&
	       config->trusted_proxies && config->allowed_origins);
}

static void check_print(const struct config *config)
{
	size_t len = 0, again_len = 0;
	char *text = print(config, &len);
	struct config *again = parse_joined(text, len, SECRET_LINE);

	assert(again);
	char *again_text = print(again, &again_len);
	if (!config->redis_url[0] && !config->worker_secret_previous[0]) /* they are hidden too */
		assert(len == again_len && memcmp(text, again_text, len) == 0);
	config_free(again);
	free(again_text);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	if (memmem(text, size, MARK, strlen(MARK)))
		return -1;
	config_free(parse(text, size));
	assert(!parse_joined(text, size, SHORT_LINE));
	struct config *config = parse_joined(text, size, SECRET_LINE);
	if (config) {
		check_promises(config);
		check_print(config);
	}
	config_free(config);
	return 0;
}
