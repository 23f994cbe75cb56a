/*
 * Which gateways are alive, according to the kernel and not to a row that a killed process has
 * left: the file <state_dir>/gateway.lock. Each gateway process locks the bytes of its own pid
 * there (fcntl(2) open file description locks: they end with the process, and can be asked about
 * without being taken), and writes the monotonic time into them every second, so that one that
 * hangs is noticed too. Byte 0 is the right to serve this state_dir. Processes of the API lock a
 * byte too, just to be counted.
 */
#ifndef SHARED_LIVENESS_H
#define SHARED_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

/* A gateway without a heartbeat for this long counts as dead. */
enum { LIVENESS_LIMIT_MS = 4000 };

struct liveness;

/* Opens (and makes, mode 0600) the file. NULL with errno on failure. */
struct liveness *liveness_open(const char *state_dir);
void liveness_close(struct liveness *liveness);

/* Takes the right to serve: false when another process has it. */
bool liveness_claim_service(struct liveness *liveness);

/* The descriptor that holds the right to serve, for a successor to inherit; -1 when it was not
 * taken. Whoever has it open has the right. */
int liveness_service_fd(const struct liveness *liveness);

/* Takes the right over with an inherited descriptor, which is now owned by `liveness`. If there
 * is none (-1), or the file has been replaced since, this is liveness_claim_service. */
bool liveness_inherit_service(struct liveness *liveness, int fd);

/* Marks this process as a living gateway; then liveness_beat once a second. */
bool liveness_claim_pid(struct liveness *liveness, int64_t pid);
void liveness_beat(struct liveness *liveness, int64_t pid);

/* True when that gateway process lives and beats. */
bool liveness_check(struct liveness *liveness, int64_t pid);

/* Marks this process as one of the API's, for as long as `liveness` is open; and how many there
 * are, this one included. */
void liveness_claim_api(struct liveness *liveness, int64_t pid);
int64_t liveness_count_api(const struct liveness *liveness);

#endif
