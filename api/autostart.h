/*
 * With gateway_autostart: a gateway is started when there is none, for hosts where nothing else
 * does. One process of the API is enough to see to it, and however many do, one gateway is started:
 * whoever starts it takes the right to serve first (liveness.h), and hands it on.
 *
 * A gateway that does not stay is started again after longer and longer waits, which all processes
 * of the API share by a file in the state_dir.
 */
#ifndef API_AUTOSTART_H
#define API_AUTOSTART_H

#include <stddef.h>

#include "shared/config/config.h"

/* For after an answer. Returns at once; whether a gateway is really started is logged. */
void autostart_look(const struct config *config);

/* What to say to people when no gateway runs: whether one was started, and what came of it. */
enum { AUTOSTART_TEXT_SIZE = 512 };
void autostart_explain(const struct config *config, char text[AUTOSTART_TEXT_SIZE]);

#endif
