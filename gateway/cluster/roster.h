/*
 * Who is in the cluster: this node says every few seconds how it stands, in the hash wavelog:nodes,
 * and what the others say there is kept in the table `nodes`. Whether another one is alive is told
 * by its entry changing, so clocks need not agree.
 */
#ifndef GATEWAY_ROSTER_H
#define GATEWAY_ROSTER_H

struct cluster;
struct roster;

struct roster *roster_new(struct cluster *cluster);

/* NULL is allowed. */
void roster_free(struct roster *roster);

void roster_on_link(struct roster *roster);
void roster_on_link_lost(struct roster *roster);
void roster_on_tick(struct roster *roster);

/* This node ends in order: the others are told. Whoever takes over says that it is there again. */
void roster_leave(struct roster *roster);

#endif
