/*
 * The configuration, see config.h: where the file is, how it is read, and the life of the struct.
 * State: none but the struct that is returned. Called at the start of both programs. Reads regular
 * files only, so it does not wait on a pipe. Every fault goes to the callback, and then there is no
 * struct.
 */
#include "shared/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/config/config_findings.h"
#include "shared/config/config_key.h"

const char *config_path(const char *option)
{
	const char *path = option ? option : getenv("WAVELOG_WORKER_CONFIG");

	if (path && (option || *path))
		return path;
	return access("config.yaml", F_OK) == 0 ? "config.yaml" : "/etc/wavelog-worker/config.yaml";
}

void config_clear_text(struct config *config, const struct config_key *key)
{
	char **field = config_field(config, key);

	free(*field);
	*field = xstrdup("");
}

struct config *config_new(const char *path)
{
	struct config *config = xcalloc(1, sizeof(*config));
	char why[CONFIG_WHY_SIZE];

	config->path = xstrdup(path);
	for (const struct config_key *key = config_keys; key->name; key++) {
		const char *text = key->default_text;

		if (config_type_is_text(key->type))
			config_clear_text(config, key);
		if (text && !config_value_set(config, key, text, strlen(text), why))
			abort(); /* a mistake in the table */
	}
	return config;
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

/* One byte more than is allowed shows that there is more. */
static char *read_all(int fd, size_t *len)
{
	char *text = xcalloc(CONFIG_MAX_BYTES + 1, 1);
	size_t used = 0;

	while (used < CONFIG_MAX_BYTES + 1) {
		ssize_t got = read(fd, text + used, CONFIG_MAX_BYTES + 1 - used);

		if (got == 0)
			break;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			free(text);
			return NULL;
		}
		used += (size_t)got;
	}
	*len = used;
	return text;
}

/* The text of the file, to be freed, or NULL with the fault reported. Without O_NONBLOCK the open
 * of a pipe would wait. */
static char *read_file(const char *path, size_t *len, struct config_findings *findings)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;
	char *text = NULL;

	if (fd < 0 || fstat(fd, &status) != 0) {
		config_error(findings, 1, "cannot open the file: %s", strerror(errno));
		goto out;
	}
	if (!S_ISREG(status.st_mode)) {
		config_error(findings, 1, "%s",
			     S_ISDIR(status.st_mode) ? "is a directory" : "not a regular file");
		goto out;
	}
	if (status.st_mode & S_IROTH)
		config_warning(findings, 1,
			       "others can read this file and the secret in it: chmod o-r");
	text = read_all(fd, len);
	if (!text)
		config_error(findings, 1, "cannot read the file: %s", strerror(errno));
out:
	if (fd >= 0)
		close(fd);
	return text;
}

struct config *config_load(const char *path, config_report *report, void *context)
{
	struct config_findings findings = {.file = path, .report = report, .context = context};
	size_t len = 0;
	char *text = read_file(path, &len, &findings);
	struct config *config = text ? config_read(text, len, &findings) : NULL;

	free(text);
	return config;
}

struct config *config_parse(const char *text, size_t len, const char *path, config_report *report,
			    void *context)
{
	struct config_findings findings = {.file = path, .report = report, .context = context};

	return config_read(text, len, &findings);
}
