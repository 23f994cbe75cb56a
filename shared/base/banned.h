/*
 * Functions that this project does not use: each has a safer form that takes the length of its
 * buffer, or reports what it could not parse. Every source file includes this, by the compiler's
 * -include, so that a call is a build error.
 */
#ifndef SHARED_BANNED_H
#define SHARED_BANNED_H

/* The system headers that declare them come first: poisoning would break the declarations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strncpy strcat strncat sprintf vsprintf gets atoi atol atoll strtok

#endif
