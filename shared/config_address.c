/*
 * Addresses in the configuration, see config_address.h. No state; never blocks: names are not
 * looked up.
 */
#include "shared/config_address.h"

#include <arpa/inet.h>

#include "shared/alloc.h"
#include "shared/config.h"
#include "shared/unix_socket.h"

static bool parses_as(int family, const char *text)
{
	struct in6_addr address; /* the larger one */

	return inet_pton(family, text, &address) == 1;
}

bool config_is_address(const char *text)
{
	return parses_as(AF_INET, text) || parses_as(AF_INET6, text);
}

bool config_is_listen(const char *text)
{
	static const char prefix[] = "unix:";
	size_t prefix_len = sizeof(prefix) - 1;

	if (strncmp(text, prefix, prefix_len) != 0)
		return config_is_address(text);
	text += prefix_len;
	return text[0] == '/' && text[1] != '\0' && strlen(text) <= UNIX_SOCKET_PATH_MAX;
}

/* "0" to "128", no leading zero; -1 for anything else. */
static int read_prefix_len(const char *text)
{
	int bits = 0;

	if (*text == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		bits = bits * 10 + (*text - '0');
		if (bits > 128)
			return -1;
	}
	return bits;
}

/* An address, or one with /bits behind it. `text` is changed. */
static bool is_block(char *text)
{
	char *slash = strchr(text, '/');
	bool good;

	if (!slash)
		return config_is_address(text);
	int bits = read_prefix_len(slash + 1);
	*slash = '\0';
	good = (bits >= 0 && bits <= 32 && parses_as(AF_INET, text)) ||
	       (bits >= 0 && parses_as(AF_INET6, text));
	*slash = '/';
	return good;
}

/* Takes `item` over. */
static void append(char **list, char *item)
{
	size_t old_len = strlen(*list);
	size_t item_len = strlen(item);
	size_t comma = old_len > 0;

	*list = xreallocarray(*list, old_len + comma + item_len + 1, 1);
	if (comma)
		(*list)[old_len] = ',';
	memcpy(*list + old_len + comma, item, item_len + 1);
	free(item);
}

static size_t count_entries(const char *list)
{
	size_t count = *list ? 1 : 0;

	while ((list = strchr(list, ',')) != NULL) {
		list++;
		count++;
	}
	return count;
}

bool config_address_list_add(char **list, const char *text)
{
	text += strspn(text, " ");
	if (*text == '\0')
		return true;
	for (;;) {
		size_t part_len = strcspn(text, ",");
		size_t len = part_len;

		while (len > 0 && text[len - 1] == ' ')
			len--;
		char *item = xstrndup(text, len);
		if (!is_block(item) || count_entries(*list) == CONFIG_LIST_MAX) {
			free(item);
			return false;
		}
		append(list, item);
		text += part_len;
		if (*text == '\0')
			return true;
		text++; /* the comma: an item must follow */
		text += strspn(text, " ");
	}
}
