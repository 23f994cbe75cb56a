#!/bin/sh
# Installs wavelog-worker in an account without root: programs, configuration and database in a folder of its own, and
# in the site what makes the web server reach them. What works here it finds out by trying it through the site's own
# address. Run it again to upgrade, or when the host has changed; --help has the rest.
set -eu
umask 022

say() { printf '%s\n' "$*"; }
fail() { say "install.sh: $*" >&2; exit 1; }

usage()
{
	cat <<'END'
usage: install.sh [--web-root DIR] [--url URL] [--prefix NAME] [--dir DIR] [--backend PORT]
       install.sh --uninstall [--purge] [--dir DIR]

  --web-root DIR  the folder whose files the web server shows, such as ~/public_html
  --url URL       its address, such as https://www.example.org
  --prefix NAME   the folder in it, and the path behind the address, for wavelog-worker (worker)
  --dir DIR       where programs, configuration and database go, outside the web root (~/worker)
  --backend PORT  for hosts that send paths to a port of yours themselves (Uberspace): NAME/ws and NAME/stream
                  go to this one; 0: no longer
  --uninstall     removes what was installed, but for the configuration and the database
  --purge         removes those too

What is not given is asked for, or is as it was the last time. curl reads ~/.curlrc as usual.
END
}

unset CDPATH # or cd would say where it is
here=$(cd "$(dirname "$0")" && pwd)
web_root='' url='' prefix='' backend='' dir=${HOME:-}/worker uninstall='' purge=''
while [ $# -gt 0 ]; do
	case $1 in
	--web-root | --url | --prefix | --dir | --backend)
		[ $# -gt 1 ] || fail "$1 needs a value"
		case $1 in
		--web-root) web_root=$2 ;;
		--url) url=$2 ;;
		--prefix) prefix=$2 ;;
		--dir) dir=$2 ;;
		--backend) backend=$2 ;;
		esac
		shift
		;;
	--uninstall) uninstall=yes ;;
	--purge) purge=yes ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 64 ;;
	esac
	shift
done
case $dir in
/*) ;;
*) dir=$PWD/$dir ;;
esac
# Without symbolic links, as far as it is there: the kernel knows programs by that path.
there=$dir
while [ ! -d "$there" ]; do
	there=${there%/*}
	there=${there:-/}
done
dir=$(cd "$there" && pwd -P)${dir#"$there"}
dir=${dir%/}
# It stands in .htaccess and in scripts.
case $dir in
*[!A-Za-z0-9/._+-]* | */../* | '') fail "--dir: letters, digits and /._+- only: $dir" ;;
esac
[ "$(id -u)" -ne 0 ] || fail 'not as root: this is for an account; for a server of your own see docs/install-*.md'

answers=$dir/install.conf
remembered() { [ ! -f "$answers" ] || sed -n "s/^$1=//p" "$answers"; }

# ask VARIABLE TEXT DEFAULT: what was not given
ask()
{
	eval "[ -z \"\$$1\" ]" || return 0
	reply=$(remembered "$1")
	if [ -z "$reply" ]; then
		reply=$3
		if [ -t 0 ]; then
			printf '%s%s: ' "$2" "${3:+ [$3]}"
			read -r typed && [ -z "$typed" ] || reply=$typed
			case $reply in \~/*) reply=$HOME${reply#\~} ;; esac
		fi
	fi
	eval "$1=\$reply"
}

mark='# BEGIN wavelog-worker' mark_end='# END wavelog-worker'

# What stands in the site's .htaccess outside our block.
other_lines()
{
	[ -f "$web/.htaccess" ] || return 0
	[ "$(grep -c "^$mark" "$web/.htaccess")" = "$(grep -c "^$mark_end" "$web/.htaccess")" ] ||
		fail "$web/.htaccess has only one of the lines '$mark' and '$mark_end': mend that first"
	sed "/^$mark/,/^$mark_end/d" "$web/.htaccess"
	[ -z "$(tail -c 1 "$web/.htaccess")" ] || echo
}

# is PID PROGRAM: whether that process runs it; one that has ended and is not reaped yet does not.
is()
{
	case $(readlink "/proc/$1/exe" 2>/dev/null) in
	"$dir/$2" | "$dir/$2 (deleted)") return 0 ;;
	*) return 1 ;;
	esac
}

# end PROGRAM [FOLDER]: asks those that run now, in that folder, to end, and waits for it.
end()
{
	for pid in $(cd /proc && echo [0-9]*); do
		is "$pid" "$1" || continue
		case $(readlink "/proc/$pid/cwd") in
		"${2:-}"*) ;;
		*) continue ;;
		esac
		kill "$pid" 2>/dev/null || continue
		for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			is "$pid" "$1" || continue 2
			pause
		done
		say "still running: $1, pid $pid"
	done
}

# remove_old_probes: folders of ours that are left of one that was killed; each holds its own name.
remove_old_probes()
{
	for old in "$web"/probe-????????????????; do
		[ "$(cat "$old/there.txt" 2>/dev/null)" != "${old##*/}" ] || rm -rf "$old"
	done
}

pause() { sleep 0.25 2>/dev/null || sleep 1; }

# One at a time, until this shell ends; it waits for what a killed one may have left behind.
lock()
{
	exec 9<"$dir"
	command -v flock >/dev/null || return 0
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		flock -n 9 && return
		pause
	done
	fail "another install.sh is at work in $dir"
}

# replace_htaccess FILE: that becomes the site's .htaccess, at once or not at all, with the mode that it had; when it is
# empty there is none any more.
replace_htaccess()
{
	if [ ! -s "$1" ]; then
		rm -f "$web/.htaccess"
		return
	fi
	cat "$1" >"$web/.htaccess.new" || { rm -f "$web/.htaccess.new"; exit 1; }
	! mode=$(stat -c %a "$web/.htaccess" 2>/dev/null) || chmod "$mode" "$web/.htaccess.new"
	mv -f "$web/.htaccess.new" "$web/.htaccess"
}

# Is anything of an installation in that folder, perhaps of one that has failed?
is_ours()
{
	for file in "$dir"/wavelog-worker-[ag]* "$answers"; do [ ! -e "$file" ] || return 0; done
	grep -qs '^# Made by install.sh' "$dir/config.yaml"
}

remove_everything()
{
	is_ours || fail "nothing was installed in $dir"
	lock
	web=$(remembered web)
	if [ "$web" ]; then
		remove_old_probes
		sed -n 's/^file=//p' "$answers" | while IFS= read -r file; do rm -f "$web/$file"; done
		(umask 077 && other_lines >"$dir/htaccess.new") # for which there is room now
		replace_htaccess "$dir/htaccess.new"
		[ "$(remembered made_web)" != yes ] || rmdir "$web" 2>/dev/null || say "kept, for there is something else in it: $web"
	fi
	end wavelog-worker-api
	end wavelog-worker-gateway
	rm -f "$dir/wavelog-worker-api" "$dir/wavelog-worker-gateway" "$dir/gateway.sock" "$dir/wavelog.php" "$dir"/*.new
	if [ "$purge" ]; then
		rm -rf "$dir/state" "$dir/config.yaml" "$answers"
	else
		[ ! "$web" ] || sed '/^file=/d; /^made_web=/d' "$answers" >"$answers.new"
		[ ! "$web" ] || mv "$answers.new" "$answers"
		say "kept: $dir/config.yaml and $dir/state; --purge removes them too"
	fi
	rmdir "$dir" 2>/dev/null || :
	say 'removed'
}

if [ "$uninstall" ]; then
	remove_everything
	exit 0
fi

# 1. What there is to be installed, and where.

command -v curl >/dev/null || fail 'curl is needed, to try things out; examples/hosting/check.php does without a shell'
top=${here%/examples/hosting} bin=
for place in "$top" "$top/build" "$top/bin"; do
	[ ! -f "$place/wavelog-worker-gateway" ] || bin=$place
done
[ "$bin" ] || fail "the two programs are not in $top: unpack the whole archive, or run make"
version=$("$bin/wavelog-worker-api" --version 2>&1) || fail "the programs do not run here: $version"

guess=
for place in public_html html www htdocs; do
	[ "$guess" ] || [ ! -d "${HOME:-}/$place" ] || guess=${HOME:-}/$place
done
ask web_root 'The folder whose files the web server shows' "$guess"
[ -d "$web_root" ] || fail "--web-root: '$web_root' is not a folder"
web_root=$(cd -- "$web_root" && pwd -P)
ask url "The site's address, such as https://www.example.org" ''
case $url in
http://?* | https://?*) ;;
*) fail '--url: the address must begin with https:// or http://' ;;
esac
while [ "$url" != "${url%/}" ]; do url=${url%/}; done
case $url in
*[!A-Za-z0-9/._~:%-]* | *'['*) fail "--url: not an address as it is sent (a name with other letters has the form xn--... there): $url" ;;
esac
ask prefix 'The folder in it for wavelog-worker' worker
case $prefix in
*[!A-Za-z0-9_-]* | '') fail '--prefix: letters, digits, - and _ only' ;;
esac
[ "$backend" ] || backend=$(remembered backend)
case $backend in
*[!0-9]* | ??????*) fail '--backend: the number of a port' ;;
0) backend='' ;;
esac
web=$web_root/$prefix
old_web=$(remembered web)
[ -z "$(remembered file)" ] || [ "$old_web" = "$web" ] || [ ! -d "$old_web" ] ||
	fail "it is installed in $old_web: --uninstall first (configuration and database stay)"
case $dir/ in
"$web_root"/*) fail "--dir: $dir is in the web root, where strangers could fetch the secret" ;;
esac
base_path=/$(say "$url/" | cut -d / -f 4-)$prefix

# 2. Programs and configuration. What runs goes on with the old programs until it is told.

in_dir=
for file in "$dir"/* "$dir"/.[!.]*; do [ ! -e "$file" ] || in_dir=others; done
[ -z "$in_dir" ] || is_ours || fail "--dir: there are other things in $dir: name a folder that is empty, or not there yet"
[ -d "$dir" ] || mkdir -p "$dir"
lock
chmod 711 "$dir" # the web server may come to the socket, and see nothing
was_new=
for program in wavelog-worker-api wavelog-worker-gateway; do
	if ! cmp -s "$bin/$program" "$dir/$program"; then
		cp "$bin/$program" "$dir/$program.new"
		chmod 755 "$dir/$program.new"
		mv -f "$dir/$program.new" "$dir/$program"
		was_new=yes
	fi
done
config=$dir/config.yaml
if [ ! -f "$config" ]; then
	secret=$(head -c 64 /dev/urandom | sha256sum | cut -c 1-64)
	(
		umask 077
		cat >"$config.new" <<-END
			# Made by install.sh; docs/configuration.md has all keys. While this line is here, install.sh changes
			# ws_bind, ws_port, ws_socket_mode and gateway_autostart if no browser gets through to the gateway.
			worker_secret: "$secret"
			state_dir: "$dir/state"
		END
	)
	mv "$config.new" "$config"
fi
chmod 600 "$config"
problem=$("$dir/wavelog-worker-api" -c "$config" --check-config 2>&1 >/dev/null) || fail "$problem"
key()
{
	sed -n -e "s/^$1: *\"\([^\"]*\)\".*/\1/p" -e "s/^$1: *'\([^']*\)'.*/\1/p" \
		-e "s/^$1: *\([^\"'#]*[^\"'# ]\).*/\1/p" "$config" | tail -n 1
}

# 3. The site. What is tried lies in a folder with a random name, which goes again, whatever happens.

made_web=$(remembered made_web)
[ -d "$web" ] || made_web=yes
# For --uninstall, should this run be killed.
[ -f "$answers" ] || printf '%s=%s\n' web "$web" made_web "$made_web" >"$answers"
[ -d "$web" ] || mkdir "$web"
probe=probe-$(head -c 16 /dev/urandom | sha256sum | cut -c 1-16)
answer=$dir/answer.new
clean_up()
{
	trap '' HUP INT TERM
	end wavelog-worker-api "$web/$probe" # that mod_fcgid has started there, and nobody asks any more
	rm -rf "${web:?}/$probe" "$web/.htaccess.new" "$answer" "$dir"/*.new
	[ "$made_web" != yes ] || rmdir "$web" 2>/dev/null || : # nothing has come of it
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
remove_old_probes
mkdir "$web/$probe"
# Or nothing would be found that works.
head -c 100000 /dev/urandom >"$web/$probe/new" || fail "there is no room for 100 KB in $web"
rm "$web/$probe/new"
echo "$probe" >"$web/$probe/there.txt"
(umask 077 && printf 'header = "X-Worker-Secret: %s"\n' "$(key worker_secret | sed 's/[\\"]/\\&/g')" >"$dir/secret.new")

# fetch PATH [OPTIONS OF CURL]: $status, and the body in the file $answer. Fails when there is none.
fetch()
{
	path=$1
	shift
	rm -f "$answer"
	status=$(umask 077 && curl -sS --connect-timeout 5 --max-time 15 -o "$answer" -w '%{http_code}' "$@" "$url/$prefix/$path" 2>"$dir/why.new" 9<&-) || :
	why=$(cat "$dir/why.new")
	rm -f "$dir/why.new"
	[ -f "$answer" ]
}

if ! fetch "$probe/there.txt" || [ "$(cat "$answer")" != "$probe" ]; then
	case $status in
	000) fail "$url cannot be reached from here: $why" ;;
	3*) fail "$url sends on to another address: give that one as --url" ;;
	*) fail "$url/$prefix/ does not show the files of $web (status $status): is that the site's folder?" ;;
	esac
fi

# The lines of .htaccess. $api: fcgid, cgi or php. $spare: which of the others take its place, should the host's module
# go. $options: whether Options may be set. $guard: who may call the API, local: only this machine (the secret is asked
# for in any case), all: as far as Apache cares everybody.
# $gateway: its address, or nothing; a plain number is a port to which the host itself sends browsers. A browser that finds
# no gateway has the API start one; a publish that Apache itself refuses must not get the 200 of readyz.
htaccess()
{
	say "$mark (made by install.sh, which replaces what is between these lines)"
	[ -z "$options" ] || [ "$api" = php ] || say 'Options +ExecCGI'
	case $api in
	fcgid) say 'AddHandler fcgid-script .fcgi' ;;
	cgi) say 'AddHandler cgi-script .fcgi' ;;
	esac
	case $spare in
	*cgi*) without fcgid 'AddHandler cgi-script .fcgi' ;;
	esac
	if [ "$guard" = local ]; then
		cat <<-END
			<FilesMatch "^(wavelog-worker\.fcgi|worker\.php)\$">
			<RequireAny>
			Require local
			Require expr "%{REQUEST_URI} =~ m#/(readyz|poll)\$#"
			</RequireAny>
			CGIPassAuth On
			</FilesMatch>
		END
	fi
	cat <<-END
		<IfModule mod_env.c>
		SetEnv ap_trust_cgilike_cl yes
		</IfModule>
		RewriteEngine On
		RewriteBase $base_path/$1
	END
	rule='RewriteRule ^(internal/.*|readyz|poll)$'
	case $api$spare in
	'fcgid cgi php') without 'fcgid cgid cgi' "$rule worker.php/\$1 [L]" ;;
	'fcgid php') without fcgid "$rule worker.php/\$1 [L]" ;;
	'cgi php') without 'cgid cgi' "$rule worker.php/\$1 [L]" ;;
	esac
	if [ "$api" = php ]; then say "$rule worker.php/\$1 [L]"; else say "$rule wavelog-worker.fcgi/\$1 [L]"; fi
	if [ "${gateway#"$backend"}" ]; then
		to_path=$(say "$base_path" | sed 's/%/\\%/g')
		cat <<-END
			RewriteCond %{HTTP:Upgrade} =websocket [NC]
			RewriteRule ^ws\$ $(proxied ws)$to_path/ws [P,L]
			RewriteRule ^stream\$ $(proxied http)$to_path/stream [P,L]
			<FilesMatch "^(ws|stream)\$">
			ErrorDocument 503 $base_path/readyz
			<IfModule mod_headers.c>
			RequestHeader unset Cookie
			</IfModule>
			</FilesMatch>
		END
	fi
	say "$mark_end"
}

# without MODULES LINE: a line that counts where Apache has none of them.
without()
{
	for module in $1; do say "<IfModule !mod_$module.c>"; done
	say "$2"
	for module in $1; do say '</IfModule>'; done
}

# Where .htaccess sends browsers: proxied SCHEME
proxied()
{
	case $gateway in
	unix:*) say "$gateway|$1://localhost" ;;
	*) say "$1://$gateway" ;;
	esac
}

# place PATH: what was made in the folder for probes takes its place in the site, at once and whole.
place() { mv -f "$web/$probe/new" "$1"; }

# put FOLDER WAY: the entry point of fcgid, cgi or php into a folder of the site.
put()
{
	if [ "$2" = php ]; then
		from=local
		[ "$guard" = local ] || from='*'
		printf "<?php return ['program' => '%s', 'config' => '%s', 'internal_from' => ['%s']];\n" \
			"$dir/wavelog-worker-api" "$config" "$from" >"$web/$probe/new"
		place "$1/worker-settings.php"
		cat "$top/examples/php/worker.php" >"$web/$probe/new"
		place "$1/worker.php"
		return
	fi
	printf '#!/bin/sh\nWAVELOG_WORKER_CONFIG=%s exec %s\n' "$config" "$dir/wavelog-worker-api" >"$web/$probe/new"
	chmod 755 "$web/$probe/new"
	# mod_fcgid knows programs by their inodes: requests are lost if its processes end, but not if the file is another.
	place "$1/wavelog-worker.fcgi"
}

# Whether the API's status comes from below that path.
api_answers()
{
	fetch "${1:+$1/}internal/status" -K "$dir/secret.new" && grep -q '"version":' "$answer" &&
		fetch "${1:+$1/}readyz" && grep -qE '^(ok|unavailable: )' "$answer"
}

# try_api: with $api, $options and $guard in the folder for probes.
try_api()
{
	put "$web/$probe" "$api"
	htaccess "$probe/" >"$web/$probe/.htaccess"
	api_answers "$probe"
}

find_api()
{
	gateway='' spare=''
	for api in fcgid cgi php; do
		for options in yes ''; do
			for guard in local all; do
				if try_api; then return; fi
			done
		done
	done
	# Without .htaccess: a PHP file that gets the path behind its name, or after a question mark.
	options=''
	rm -f "$web/$probe/.htaccess"
	for guard in local all; do
		put "$web/$probe" php
		for direct in worker.php 'worker.php?'; do
			if api_answers "$probe/$direct"; then return; fi
		done
	done
	return 1
}

# What takes the place of $api should the host take that away: whatever else works now. Web servers that are no Apache may
# know the modules by other names, and would use what stands in at once: there nothing does.
find_spare()
{
	found=$api tried=''
	for api in cgi php; do
		case $found/$api in
		fcgid/* | cgi/php) if try_api; then tried="$tried $api"; fi ;;
		esac
	done
	api=$found spare=$tried
	rm -f "$web/$probe/worker.php"
	try_api || spare=''
}

direct= # the path of the API's PHP file where .htaccess does not count
say "$version"
find_api || fail "the API cannot be reached in any way (last: status $status): see docs/shared-hosting.md, 'What to ask the host'"

[ "$direct" ] || find_spare

# 4. The gateway: an address that the web server's proxy reaches, with WebSockets if it can be.

# Waits for the gateway that the API starts when it is asked for the status.
gateway_runs()
{
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		fetch "$probe/${direct:+$direct/}readyz" && grep -q '^ok' "$answer" && return
		pause
	done
	return 1
}

# try_gateway: what passes through the site's proxy to $gateway: sets $browsers to websocket, stream or nothing.
try_gateway()
{
	browsers=
	[ "$direct" ] || htaccess "$probe/" >"$web/$probe/.htaccess"
	at=$probe/
	[ "$gateway" != "$backend" ] || at=
	rm -f "$(key state_dir)/gateway.start" # how often one has failed: the API would wait before it tries again
	if ! gateway_runs; then
		fetch "$probe/${direct:+$direct/}internal/status" -K "$dir/secret.new" || :
		say "  the gateway does not run: $(sed -n 's/.*"reason":"\([^"]*\)".*/\1/p' "$answer")"
		return
	fi
	# A topic that is always there, and needs a token, which this is not.
	if fetch "${at}stream?topic=worker.status" -d '{"type":"auth","token":"0.0"}' -H 'Content-Type: text/plain' &&
		grep -q '"unauthorized"' "$answer"; then
		browsers=stream
	fi
	for limit in 1 5; do # a WebSocket stays open, so curl waits as long as it may
		fetch "${at}ws?topic=worker.status" --http1.1 --max-time $limit -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
			-H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: d2F2ZWxvZy13b3JrZXIhIQ==' || :
		[ "$status" != 101 ] || browsers=websocket
		[ "$status" = 000 ] || break
	done
}

# set_gateway AUTOSTART LINES: in our own configuration. The gateway ends when that is in place: the API may start another
# one at any moment.
set_gateway()
{
	(umask 077 && sed '/^ws_bind:/d; /^ws_port:/d; /^ws_socket_mode:/d; /^gateway_autostart:/d' "$config" >"$config.new")
	[ -z "$(tail -c 1 "$config.new")" ] || echo >>"$config.new"
	printf 'gateway_autostart: %s\n%b' "$1" "$2" >>"$config.new"
	mv "$config.new" "$config"
	end wavelog-worker-gateway
}

find_gateway()
{
	browsers='' gateway=$backend
	if [ "$backend" ]; then
		if [ "$(key ws_port)" != "$backend" ]; then
			set_gateway true "ws_bind: \"0.0.0.0\"\nws_port: $backend\n"
		fi
		try_gateway
		return
	fi
	[ -z "$direct" ] || return 0
	if [ "$(remembered browsers)" ] && [ -z "$(remembered backend)" ] || ! grep -q '^# Made by install.sh' "$config"; then
		gateway=$(key ws_bind)
		case $gateway in
		unix:*) ;;
		*)
			gateway=$(key ws_port)
			gateway=127.0.0.1:${gateway:-9000}
			;;
		esac
		try_gateway
	fi
	[ -z "$browsers" ] && grep -q '^# Made by install.sh' "$config" || return 0
	# A socket, if the web server can reach it: other customers of the host cannot take it. Else a port.
	gateway=unix:$dir/gateway.sock
	set_gateway true "ws_bind: \"$gateway\"\nws_socket_mode: \"0666\"\n"
	try_gateway
	[ -z "$browsers" ] || return 0
	gateway=127.0.0.1:$((20000 + $(head -c 2 /dev/urandom | od -An -tu2) % 12000))
	set_gateway true "ws_bind: \"127.0.0.1\"\nws_port: ${gateway#*:}\n"
	try_gateway
	[ -z "$browsers" ] || return 0
	set_gateway false 'ws_bind: "127.0.0.1"\n'
}

find_gateway
[ "$browsers" ] || gateway=''

# 5. What was found goes into the site.

old_files=$(remembered file)
files='client.js client-socket.js demo.html'
[ "$api" = php ] || files="$files wavelog-worker.fcgi"
case $api$spare in
*php) files="$files worker.php worker-settings.php" ;;
esac
for file in $files; do
	case " $(say "$old_files" | tr '\n' ' ') " in
	*" $file "*) ;;
	*) [ ! -e "$web/$file" ] || fail "$web/$file is there, and not ours: move it away, or choose another --prefix" ;;
	esac
done
{
	printf '%s=%s\n' web_root "$web_root" url "$url" prefix "$prefix" web "$web" made_web "$made_web" \
		backend "$backend" browsers "$browsers"
	for file in $files; do say "file=$file"; done
} >"$answers.new"
mv "$answers.new" "$answers"
cat "$bin/client/wavelog-worker.js" >"$web/$probe/new"
place "$web/client.js"
cat "$bin/client/wavelog-worker-socket.js" >"$web/$probe/new" # with the other one in front
place "$web/client-socket.js"
# It tells how to publish, with the words of a server of one's own.
sed "s,sudo sed,sed,; s,/etc/wavelog-worker/config.yaml,$config,; s, (<code>make run.*own):,:,; s,'/worker/ws','$base_path/ws'," \
	"$top/nginx/demo.html" >"$web/$probe/new"
place "$web/demo.html"
for way in $api $spare; do put "$web" "$way"; done
(umask 077 && other_lines >"$dir/before.new")
if [ -z "$direct" ]; then
	{ cat "$dir/before.new"; htaccess ''; } >"$dir/htaccess.new"
	replace_htaccess "$dir/htaccess.new"
fi
for file in $old_files; do
	case " $files " in
	*" $file "*) ;;
	*) rm -f "$web/$file" ;;
	esac
done

# 6. New programs: the API's processes are others from now on, for its file is another, and the gateway hands over.

if [ "$was_new" ] && [ "$gateway" ] && [ "$(key gateway_autostart)" != true ]; then
	pid=$(od -An -td8 -N8 "$(key state_dir)/gateway.lock" 2>/dev/null | tr -d ' ')
	if is "$pid" wavelog-worker-gateway; then
		kill -USR2 "$pid" 2>/dev/null || true
	else
		say 'no gateway of this folder was running'
	fi
fi
if ! api_answers "$direct"; then
	[ "$direct" ] || replace_htaccess "$dir/before.new"
	fail "it works in a folder below $web, but not there (status $status): what else stands in its .htaccess?"
fi

# 7. What the application has to know.

api_url=$url/$prefix${direct:+/$direct}
ws_url=$(say "$url/$prefix" | sed 's/^http/ws/')
php_secret=$(key worker_secret | sed "s/[\\\\']/\\\\&/g")
(
	umask 077
	cat >"$dir/wavelog.new" <<-END
		<?php // for Wavelog's application/config/worker.php
		\$config['worker_enabled'] = true;
		\$config['worker_urls'] = ['$api_url'];
		\$config['worker_secret'] = '$php_secret';
		\$config['worker_client_url'] = '$ws_url';
	END
)
mv -f "$dir/wavelog.new" "$dir/wavelog.php"
case $api in
fcgid) say '  PHP reaches the API by FastCGI' ;;
cgi) say '  PHP reaches the API by CGI, some milliseconds a call' ;;
php) say "  PHP reaches the API by worker.php${direct:+, at $api_url}" ;;
esac
case $spare in
' cgi php') say '  and, should the host take that away, by CGI, else by worker.php' ;;
' cgi') say '  and, should the host take that away, by CGI' ;;
' php') say '  and, should the host take that away, by worker.php' ;;
esac
case $browsers in
websocket) say "  browsers use WebSockets, by ${backend:+port }$gateway" ;;
stream) say "  browsers use streams, by ${backend:+port }$gateway: WebSockets do not pass" ;;
*)
	why="no proxy was found"
	[ -z "$backend" ] || why="nothing that is sent to $url/$prefix/ws comes to port $backend"
	say "  browsers poll $api_url/poll: $why"
	;;
esac
[ "$guard" = local ] || say '  the web server cannot tell who calls: the secret alone keeps strangers from the API'
[ -z "$gateway" ] || say '  the API starts the gateway when there is none'
say "installed in $dir and $web"
say
say "For Wavelog's application/config/worker.php, from $dir/wavelog.php:"
say
if [ -t 1 ]; then sed 1d "$dir/wavelog.php"; else sed "1d; /worker_secret/s/= .*/= '...'; \/\/ is in that file/" "$dir/wavelog.php"; fi
if [ "$browsers" != websocket ]; then
	say
	say "and, before Wavelog's own scripts, in its pages:"
	say
	say "<script src=\"$url/$prefix/client-socket.js\"${direct:+ data-poll-url=\"$api_url/poll\"}></script>"
fi
say
[ "$direct" ] || say "To see pushes: $url/$prefix/demo.html"
