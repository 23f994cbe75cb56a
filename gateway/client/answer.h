/*
 * HTTP answers that are neither an upgrade nor a stream: the door's refusals, and what the client
 * of a stream that does not begin is told. Pure.
 */
#ifndef GATEWAY_ANSWER_H
#define GATEWAY_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/contract/origin.h"

enum { ANSWER_SIZE = 512 + ORIGIN_HEAD_SIZE };

/* Writes the answer with that status (answer.c has a row for each). `text` is its body: an error
 * frame (JSON), or a line without its newline. `head`: more header lines, or "". `with_body`: false
 * for HEAD. Returns its length. */
size_t answer_write(char out[ANSWER_SIZE], int status, const char *text, const char *head,
		    bool with_body);

#endif
