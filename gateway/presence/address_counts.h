/*
 * How many connections each client address has, for max_connections_per_address. An IPv6 client is
 * known by the first 64 bits of its address: whoever has one has all that begin so (RFC 6177).
 * Memory goes with the number of addresses that are connected now. Pure; one thread at a time.
 */
#ifndef GATEWAY_ADDRESS_COUNTS_H
#define GATEWAY_ADDRESS_COUNTS_H

#include <stddef.h>

#include "gateway/presence/client_address.h"

struct address_counts;

/* Free with address_counts_free, which allows NULL. */
struct address_counts *address_counts_new(void);
void address_counts_free(struct address_counts *counts);

enum { ADDRESS_COUNTS_KEY_SIZE = 16 };

/* The same over memory of somebody else, zeroed or filled by another process under the same key: it
 * has room for `most` addresses, no more, and its size in bytes is address_counts_size(most). */
struct address_counts *address_counts_over(void *memory, size_t most,
					   const unsigned char key[ADDRESS_COUNTS_KEY_SIZE]);
size_t address_counts_size(size_t most);

void address_counts_add(struct address_counts *counts, const struct client_address *address);

/* Takes back one address_counts_add. */
void address_counts_remove(struct address_counts *counts, const struct client_address *address);

size_t address_counts_get(const struct address_counts *counts,
			  const struct client_address *address);

#endif
