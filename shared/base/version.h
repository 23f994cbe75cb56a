/* The version of both programs; the schema has its own (sql/README.md). */
#ifndef SHARED_VERSION_H
#define SHARED_VERSION_H

#define WORKER_VERSION "0.1.0"

#endif
