/*
 * What a service manager such as systemd wants to know (sd_notify(3), the datagram protocol of
 * $NOTIFY_SOCKET): that the program is serving, and which process is the main one now, so that a
 * successor is not taken for a leftover. Without that variable nothing happens.
 */
#ifndef SHARED_SERVICE_MANAGER_H
#define SHARED_SERVICE_MANAGER_H

/* This process serves. Never blocks; a manager that does not listen is ignored. */
void service_manager_ready(void);

#endif
