/*
 * From a member that is embedded in a struct (a list's entry, a deadline) to that struct.
 */
#ifndef SHARED_CONTAINER_OF_H
#define SHARED_CONTAINER_OF_H

#include <stddef.h>

#define container_of(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
