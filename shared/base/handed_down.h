/*
 * What a gateway that is started inherits from its predecessor, or from the API: a variable of its
 * environment says, after the version of this form, which descriptors it has. They are the right to
 * serve (liveness.h), the pipe on which it says that it is serving, how many listening sockets and
 * which; then comes where these listen.
 */
#ifndef SHARED_HANDED_DOWN_H
#define SHARED_HANDED_DOWN_H

#define HANDED_DOWN_VARIABLE "WAVELOG_WORKER_INHERITS"
#define HANDED_DOWN_FORM "v2 "

/* One that does not serve by then is killed. */
enum { HANDED_DOWN_LIMIT_MS = 60000 };

#endif
