"""What the end-to-end tests are built from: real programs and servers, each in a directory of its own.

	process         a program, started and stopped; waiting with a limit, free ports, what logs may not hold
	service         an installation: its configuration, the gateway, the processes of the API
	web_servers     nginx and Apache in front of it, with the repository's site files; certificates
	api             what PHP does: the internal API, tokens; and FastCGI without a web server
	cluster         nodes that share a Redis, and a stand-in for those of the existing implementation
	redis_server    a redis-server, and a proxy before it that delays, hangs and cuts
	websocket       one client: well-behaved, or breaking every rule
	stream          one stream (server-sent events): any request, byte by byte, and a strict reader
	browser         a headless Chromium, and a switchboard that shuts its ways to the service
	crowd           a thousand clients in one thread, who come back whenever they are sent away
	hoppers         publishers at each node of a cluster, and clients that go from node to node
	ledger          publishes that carry numbers, and who lost, repeated or reordered them
	crashes         random kills, and the supervisor that starts what has been killed
	sandbox         a machine to throw away, in which commands run word for word (systemctl: its systemd)
	pages           the documentation, and the commands in it
	hosting         a shared host with one customer, in a sandbox
	witness         run in it: publishes while a command runs, and follows by whatever the site lets through
	visitor         run in it: a page in Chromium that stays open while the host changes
	sqlite          the database as people look into it
	metrics         GET /internal/metrics, read as strictly as Prometheus does
"""
