/*
 * What a gateway that is started inherits from its predecessor, or from the API: an environment
 * variable lists, after the version of this form, the descriptors that it has. They are the right
 * to serve (liveness.h), the pipe on which it says that it is serving, the number of listening
 * sockets and these; after them comes where they listen.
 */
#ifndef SHARED_HANDED_DOWN_H
#define SHARED_HANDED_DOWN_H

#define HANDED_DOWN_VARIABLE "WAVELOG_WORKER_INHERITS"
#define HANDED_DOWN_FORM "v2 "

/* A gateway that does not serve by then is killed. */
enum { HANDED_DOWN_LIMIT_MS = 60000 };

#endif
