/*
 * The tap on the gateway's shoulder: one datagram that says "look", sent after the commit. It may
 * be lost: the gateway looks by itself once a second. Never blocks and never fails: a gateway that
 * is not there, or whose queue is full of taps already, is left alone.
 */
#ifndef SHARED_NOTIFY_H
#define SHARED_NOTIFY_H

struct notify;

struct notify *notify_new(const char *state_dir);
void notify_free(struct notify *notify);

void notify_gateway(struct notify *notify);

#endif
