/*
 * Inside the configuration: lists, which a field holds as one text, its entries joined by commas
 * without spaces.
 */
#ifndef SHARED_CONFIG_LIST_H
#define SHARED_CONFIG_LIST_H

#include <stdbool.h>

/* Takes the first entry off *text, which is NULL behind the last one. The entry is the caller's to
 * free; it has no spaces around it, and may be empty. */
char *config_list_next(const char **text);

/* Adds a copy of the entry to *list, which is grown; false when there are CONFIG_LIST_MAX. */
bool config_list_add(char **list, const char *entry);

#endif
