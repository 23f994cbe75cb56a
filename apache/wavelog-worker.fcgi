#!/bin/sh
WAVELOG_WORKER_CONFIG=/home/me/worker/config.yaml exec /home/me/worker/wavelog-worker-api
