/*
 * What a node says of itself in the hash wavelog:nodes, which both kinds of nodes write. Pure
 * functions.
 */
#ifndef GATEWAY_NODE_INFO_H
#define GATEWAY_NODE_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/slice.h"

enum {
	NODE_NAME_MAX = 255, /* as long as host names become */
	NODE_VERSION_MAX = 63,
	NODE_INFO_MAX = 4096 /* a longer text is refused */
};

struct node_info {
	char name[NODE_NAME_MAX + 1]; /* with a NUL; no control characters */
	char version[NODE_VERSION_MAX + 1];
	int64_t started_ms, seen_ms; /* by its own wall clock */
	int64_t topics, clients, sockets; /* topics: that have a subscriber */
	bool is_alive; /* it does not say that it ends */
};

/* Reads the value of the field `id`. False when it is not what a node writes; then *out says
 * nothing. */
bool node_info_read(struct slice id, struct slice value, struct node_info *out);

/* Writes it, with a NUL; returns its length. */
size_t node_info_write(const struct node_info *info, const char *id, char out[NODE_INFO_MAX]);

#endif
