/*
 * Descriptor 0, the listening socket that mod_fcgid, spawn-fcgi or any other FastCGI spawner hands
 * to its programs, and the signals that end the program: they are handled together, so that no
 * signal is missed.
 */
#ifndef API_LISTENER_H
#define API_LISTENER_H

#include <stdbool.h>

/* A web server that stops in the middle of a request, or sends it drop by drop, is given up on
 * after this long. */
enum { LISTENER_PEER_TIMEOUT_S = 10 };

/* After this long without a connection listener_accept returns LISTENER_IDLE. */
enum { LISTENER_IDLE = -2, LISTENER_IDLE_MS = 1000 };

enum { LISTENER_STAND_BACK_MS = 5 };

/* How many of those who wait when a signal asks the program to end a process still takes. */
enum { LISTENER_LAST = 64 };

/* Holds back SIGTERM, SIGINT and SIGUSR1 until listener_accept. Call it first of all, so that a
 * program told to end while it starts ends in order. */
void listener_hold_signals(void);

/* Whether descriptor 0 is a listening socket. */
bool listener_is_there(void);

/* Takes over descriptor 0 and SIGTERM, SIGINT, SIGUSR1 and SIGPIPE. False with errno when that
 * cannot be done; errno 0: descriptor 0 is not a listening socket, the program was started by hand.
 */
bool listener_start(void);

/* Waits for a connection and returns its descriptor, blocking, with timeouts set, close-on-exec;
 * LISTENER_IDLE after LISTENER_IDLE_MS without one; -1 when a signal has asked the program to end
 * and nobody waits any more, or with errno != 0 when descriptor 0 is broken. From the return to the
 * next call the ending signals are held back: a request in hand is finished. */
int listener_accept(void);

/* True when nobody comes for that long. */
bool listener_is_quiet(int for_ms);

/* Leaves the next connections to the other processes at this socket, for LISTENER_STAND_BACK_MS or
 * until a signal asks the program to end. One of them, at least, never does. */
void listener_stand_back(void);

#endif
