/*
 * The configuration, see config.h: where the file is, what the environment says instead, and the
 * life of the struct. No state but the struct that is returned. Called when a program starts and
 * when the file is read again. Reads regular files only, so it does not wait on a pipe. Every fault
 * goes to the callback, and then there is no struct.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/state_dir.h"
#include "shared/config/config_internal.h"

enum { WHY_SIZE = 240 };

const char *config_path(const char *option)
{
	const char *path = option ? option : getenv("WAVELOG_WORKER_CONFIG");

	if (path && (option || *path))
		return path;
	return access("config.yaml", F_OK) == 0 ? "config.yaml" : "/etc/wavelog-worker/config.yaml";
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (const struct config_key *key = config_keys; key->name; key++)
		if (config_type_is_text(key->type))
			free(*(char **)config_field(config, key));
	free(config->path);
	free(config);
}

/* With every default; of what is required, "". */
static struct config *config_new(const char *path)
{
	struct config *config = xcalloc(1, sizeof(*config));
	struct config_reading reading = {.config = config}; /* no callback: the table is good */

	config->path = xstrdup(path);
	config->has_file = true;
	for (const struct config_key *key = config_keys; key->name; key++) {
		const char *text = key->default_text ? key->default_text : "";

		if (config_type_is_text(key->type))
			*(char **)config_field(config, key) = xstrdup("");
		if (*text)
			config_set(&reading, key, key->name, text, strlen(text), 0);
	}
	return config;
}

/* The environment, and the verdict. */
static struct config *finish(struct config_reading *reading)
{
	const struct config *config = reading->config;
	const char *file = reading->file;

	reading->file = "environment";
	for (const struct config_key *key = config_keys; key->name; key++) {
		const char *text = config_environment(key);

		if (text)
			config_set(reading, key, key->environment, text, strlen(text), 0);
	}
	reading->file = file;
	if (*config->redis_ca && *config->redis_url &&
	    strncmp(config->redis_url, "rediss:", 7) != 0)
		config_error(reading, 0,
			     "redis_ca: only for a redis_url that begins with rediss://");
	if (reading->errors == 0)
		return reading->config;
	config_free(reading->config);
	return NULL;
}

/* Without O_NONBLOCK the open of a pipe would wait. Of a file that is too long one byte more than
 * is allowed is read, which config_read refuses. */
struct config *config_load(const char *path, config_report *report, void *context)
{
	struct config_reading reading = {config_new(path), path, report, context, 0, 0};
	const struct config_key *lacking = config_keys; /* required, and not in the environment */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	char why[WHY_SIZE], *text;
	struct stat *status = &reading.config->seen;
	size_t len;

	while (lacking->name && (lacking->default_text || config_environment(lacking)))
		lacking++;
	if (fd < 0 && errno == ENOENT && !lacking->name) {
		reading.config->has_file = false;
		status->st_size = -1; /* which no file has */
	} else if (!file || fstat(fd, status) != 0) {
		state_dir_explain(path, errno, why, sizeof(why));
		config_error(&reading, 0, "cannot open the file: %s", why);
	} else if (!S_ISREG(status->st_mode)) {
		config_error(&reading, 0, "%s",
			     S_ISDIR(status->st_mode) ? "is a directory" : "not a regular file");
	} else {
		if (status->st_mode & S_IROTH)
			config_warning(&reading, 0,
				       "others can read this file and the secret in it: chmod o-r");
		text = xcalloc(CONFIG_MAX_BYTES + 1, 1);
		len = fread(text, 1, CONFIG_MAX_BYTES + 1, file);
		if (ferror(file))
			config_error(&reading, 0, "cannot read the file: %s", strerror(errno));
		else
			config_read(&reading, text, len);
		free(text);
	}
	if (file)
		fclose(file);
	else if (fd >= 0)
		close(fd);
	return finish(&reading);
}

struct config *config_parse(const char *text, size_t len, const char *path, config_report *report,
			    void *context)
{
	struct config_reading reading = {config_new(path), path, report, context, 0, 0};

	config_read(&reading, text, len);
	return finish(&reading);
}
