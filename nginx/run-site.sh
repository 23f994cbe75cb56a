# shellcheck shell=sh disable=SC2154 # the variables are those of nginx/run, which reads this
# The nginx of `make run`: its site, made from the files of nginx/.

# replace FILE OLD NEW: fails when OLD is not in the file.
replace()
{
	grep -qF -- "$2" "$1" || fail "${1##*/} does not hold '$2' any more"
	escaped=$(printf '%s' "$2" | sed 's/[][\.*^$]/\\&/g')
	sed -i "s,$escaped,$3,g" "$1"
}

# The very files of nginx/, with the ports and paths of this run and without the TLS server.
make_nginx_files()
{
	dir=$home/nginx
	site=$dir/site.conf
	cp /etc/nginx/fastcgi_params "$dir/"
	cp "$repo/nginx/snippets/"*.conf "$dir/snippets/"
	awk '/^server \{/ { block = ""; inside = 1 }
		{ if (inside) block = block $0 "\n"; else print }
		/^}/ && inside { inside = 0; if (block !~ /listen 443 ssl;/) printf "%s", block }' \
		"$repo/nginx/wavelog-worker.conf" >"$site"
	replace "$site" 'listen 127.0.0.1:9001;' "listen $internal;"
	replace "$site" 'server unix:/run/wavelog-worker/api.sock;' "server unix:$home/api.sock;"
	replace "$site" 'server 127.0.0.1:9000;' "server $gateway;"
	replace "$site" '#include snippets/wavelog-worker-demo.conf;' 'include snippets/wavelog-worker-demo.conf;'
	replace "$dir/snippets/wavelog-worker-demo.conf" '/usr/local/share/wavelog-worker/demo.html' "$dir/demo.html"
	cat >"$dir/nginx.conf" <<-END
		daemon off;
		worker_processes 1;
		pid $dir/temp/pid;
		error_log $home/log/nginx.log warn;
		events { worker_connections 1000; }
		http {
			client_body_temp_path $dir/temp/body;
			proxy_temp_path $dir/temp/proxy;
			fastcgi_temp_path $dir/temp/fastcgi;
			uwsgi_temp_path $dir/temp/uwsgi;
			scgi_temp_path $dir/temp/scgi;
			access_log $home/log/nginx.log;
			include site.conf;
		}
	END
	# A header file for curl, so that the secret stays out of the command line.
	secret=${WORKER_SECRET:-$(sed -n "s/^worker_secret: *[\"']\{0,1\}\([^\"' ]*\).*/\1/p" "$config")}
	(umask 077 && say "X-Worker-Secret: $secret" >"$home/secret-header")
	give "$home/secret-header"
}
