/*
 * The configuration, see config.h: where the file is, what the environment says instead, and the
 * life of the struct. State: none but the struct that is returned. Called at the start of both
 * programs and when the file is read again. Reads regular files only, so it does not wait on a
 * pipe. Every fault goes to the callback, and then there is no struct.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/config/config_internal.h"

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

static struct config *config_new(const char *path)
{
	struct config *config = xcalloc(1, sizeof(*config));

	config->path = xstrdup(path);
	config->has_file = true;
	for (const struct config_key *key = config_keys; key->name; key++)
		config_set_default(config, key);
	return config;
}

/* What is required and not in the environment needs a file. */
static bool environment_is_enough(void)
{
	const struct config_key *key = config_keys;

	while (key->name && (key->default_text || config_environment(key)))
		key++;
	return !key->name;
}

static void set_from_environment(struct config *config, struct config_findings *findings)
{
	findings->file = "environment";
	for (const struct config_key *key = config_keys; key->name; key++) {
		const char *text = config_environment(key);

		if (text)
			config_set(config, key, key->environment, text, strlen(text), 0, findings);
	}
}

/* Of a file that is too long one byte more than is allowed, which config_read refuses. */
static void read_file(struct config *config, FILE *file, struct config_findings *findings)
{
	char *text = xcalloc(CONFIG_MAX_BYTES + 1, 1);
	size_t len = fread(text, 1, CONFIG_MAX_BYTES + 1, file);

	if (ferror(file))
		config_error(findings, 0, "cannot read the file: %s", strerror(errno));
	else
		config_read(config, text, len, findings);
	free(text);
}

/* Without O_NONBLOCK the open of a pipe would wait. */
static void open_file(struct config *config, struct config_findings *findings)
{
	int fd = open(config->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	struct stat status;

	if (fd < 0 && errno == ENOENT && environment_is_enough()) {
		config->has_file = false;
		return;
	}
	if (!file || fstat(fd, &status) != 0) {
		config_error(findings, 0, "cannot open the file: %s", strerror(errno));
	} else if (!S_ISREG(status.st_mode)) {
		config_error(findings, 0, "%s",
			     S_ISDIR(status.st_mode) ? "is a directory" : "not a regular file");
	} else {
		if (status.st_mode & S_IROTH)
			config_warning(findings, 0,
				       "others can read this file and the secret in it: chmod o-r");
		read_file(config, file, findings);
	}
	if (file)
		fclose(file);
}

/* The end of reading: the config, or NULL after an error. */
static struct config *finish(struct config *config, struct config_findings *findings)
{
	set_from_environment(config, findings);
	if (findings->errors == 0)
		return config;
	config_free(config);
	return NULL;
}

struct config *config_load(const char *path, config_report *report, void *context)
{
	struct config_findings findings = {.file = path, .report = report, .context = context};
	struct config *config = config_new(path);

	open_file(config, &findings);
	return finish(config, &findings);
}

struct config *config_parse(const char *text, size_t len, const char *path, config_report *report,
			    void *context)
{
	struct config_findings findings = {.file = path, .report = report, .context = context};
	struct config *config = config_new(path);

	config_read(config, text, len, &findings);
	return finish(config, &findings);
}

void config_take_over(struct config *live, struct config *fresh, config_report *report,
		      void *context)
{
	char message[128];

	for (const struct config_key *key = config_keys; key->name; key++) {
		char *old = config_field(live, key), *new = config_field(fresh, key);

		if (config_type_is_text(key->type) ? strcmp(*(char **)old, *(char **)new) == 0
						   : memcmp(old, new, key->size) == 0)
			continue;
		if (key->needs_restart) {
			snprintf(message, sizeof(message),
				 "%s has changed: takes effect after a restart", key->name);
			report(context, false, live->path, 0, message);
			continue;
		}
		for (size_t i = 0; i < key->size; i++) {
			char byte = old[i];

			old[i] = new[i];
			new[i] = byte; /* config_free below has the old text */
		}
	}
	live->has_file = fresh->has_file;
	config_free(fresh);
}

/* A URL may hold a password. */
static bool is_hidden(const struct config *config, const struct config_key *key)
{
	return (key->type == CONFIG_SECRET || key->type == CONFIG_URL) &&
	       **(char **)config_field(config, key) != '\0';
}

void config_print(const struct config *config, FILE *out)
{
	fprintf(out, "# The configuration in use, from %s",
		config->has_file ? "" : "the environment; there is no file ");
	config_print_quoted(config->path, out);
	fputs("\n", out);
	for (const struct config_key *key = config_keys; key->name; key++) {
		if (is_hidden(config, key)) {
			fprintf(out, "# %s: (hidden)", key->name);
		} else {
			fprintf(out, "%s: ", key->name);
			config_print_value(config, key, out);
		}
		if (config_environment(key))
			fprintf(out, " # from %s", key->environment);
		fputs("\n", out);
	}
}
