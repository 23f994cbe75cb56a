/*
 * Inside the configuration: texts that name an address to listen on or to trust. Pure functions.
 */
#ifndef SHARED_CONFIG_ADDRESS_H
#define SHARED_CONFIG_ADDRESS_H

#include <stdbool.h>

/* An IPv4 or IPv6 address as inet_pton takes it. */
bool config_is_address(const char *text);

/* An address, "unix:" with an absolute path that fits a socket address. */
bool config_is_listen(const char *text);

/* Adds the addresses and CIDR blocks of `text`, comma-separated, to *list, which is grown and stays
 * comma-separated without spaces; an empty text adds nothing. Returns false, *list unchanged or
 * longer, when one is not good. */
bool config_address_list_add(char **list, const char *text);

#endif
