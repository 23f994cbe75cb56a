/*
 * Which gateways are alive, according to the kernel and not to a row that a killed process has
 * left: the file <state_dir>/gateway.lock. Each gateway process locks a byte there that says whose
 * it is (fcntl(2) open file description locks: they end with the process, and can be asked about
 * without being taken) and, by moving on every second, that it does not hang: nothing is written to
 * a disk. The process that serves writes its pid into the first bytes, once. Processes of the API
 * lock a byte too, just to be counted.
 */
#ifndef SHARED_LIVENESS_H
#define SHARED_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

/* A gateway without a heartbeat for this long hangs. */
enum { LIVENESS_LIMIT_MS = 4000 };

struct liveness;

/* Opens (and makes, mode 0600) the file. NULL with errno on failure. */
struct liveness *liveness_open(const char *state_dir);
void liveness_close(struct liveness *liveness);

/* To be called about once a second: makes a file that somebody has deleted or replaced anew, with
 * our locks on it. True then: until now others may have taken us for dead. */
bool liveness_look_after(struct liveness *liveness);

/* Takes the right to serve, a lock on the directory itself. `held_fd`: the descriptor that holds it
 * already, which may be inherited; if there is none (-1), or another directory is there by now, the
 * right is taken anew, after closing that. Returns the descriptor, which the caller owns: whoever
 * has it open has the right. -1 with errno; EAGAIN: another process has it. */
int liveness_claim_service(const char *state_dir, int held_fd);

/* Writes down, for people, that this process serves now; and who did so last, 0: nobody. */
void liveness_sign(struct liveness *liveness, int64_t pid);
int64_t liveness_server(const struct liveness *liveness);

/* Marks this process as a living gateway; then liveness_beat once a second. */
bool liveness_claim_pid(struct liveness *liveness, int64_t pid);
void liveness_beat(struct liveness *liveness);

/* True when that gateway process lives, even if it hangs; and when it has a heartbeat too, or is
 * the one that asks. */
bool liveness_exists(const struct liveness *liveness, int64_t pid);
bool liveness_check(const struct liveness *liveness, int64_t pid);

/* True when that process is a gateway or one of the API's. */
bool liveness_is_ours(const struct liveness *liveness, int64_t pid);

/* Marks this process as one of the API's, for as long as `liveness` is open; and how many there
 * are, this one included. */
void liveness_claim_api(struct liveness *liveness, int64_t pid);
int64_t liveness_count_api(const struct liveness *liveness);

#endif
