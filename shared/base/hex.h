/*
 * Bytes as hexadecimal digits, in lower case. Pure functions.
 */
#ifndef SHARED_HEX_H
#define SHARED_HEX_H

#include <stddef.h>

/* Writes 2 * len digits, without a NUL. */
void hex_encode(const unsigned char *bytes, size_t len, char *out);

/* The byte that two digits stand for; -1 when they are not digits in lower case. */
int hex_byte(char high, char low);

#endif
