#!/bin/sh
WAVELOG_WORKER_CONFIG=/home/me/wavelog-worker/config.yaml exec /home/me/wavelog-worker/wavelog-worker-api
