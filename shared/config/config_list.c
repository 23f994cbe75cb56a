/* Lists in the configuration, see config_list.h. No state; never blocks. */
#include "shared/config/config_list.h"

#include "shared/base/alloc.h"
#include "shared/config/config.h"

char *config_list_next(const char **text)
{
	const char *start = *text + strspn(*text, " ");
	size_t part_len = strcspn(start, ",");
	size_t len = part_len;

	while (len > 0 && start[len - 1] == ' ')
		len--;
	*text = start[part_len] == ',' ? start + part_len + 1 : NULL;
	return xstrndup(start, len);
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

bool config_list_add(char **list, const char *entry)
{
	size_t old_len = strlen(*list), entry_len = strlen(entry);
	size_t comma = old_len > 0;

	if (count_entries(*list) == CONFIG_LIST_MAX)
		return false;
	*list = xreallocarray(*list, old_len + comma + entry_len + 1, 1);
	if (comma)
		(*list)[old_len] = ',';
	memcpy(*list + old_len + comma, entry, entry_len + 1);
	return true;
}
