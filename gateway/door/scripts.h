/*
 * The browser's scripts of gateway/client/, which anyone may fetch: <prefix>/client.js and
 * <prefix>/client-socket.js. Whole responses, made at build time by embed.awk.
 */
#ifndef GATEWAY_SCRIPTS_H
#define GATEWAY_SCRIPTS_H

#include "gateway/door/handshake.h"
#include "shared/base/slice.h"

extern const char script_client[], script_client_socket[];

/* The response to a GET or HEAD of a script; `at` is NULL when the request is for something else.
 * The bytes are constant. */
struct slice script_answer(const struct handshake *handshake);

#endif
