"""Ordinary hosting: what examples/hosting/ has for it, on a host with another user's Apache, as a customer with one site."""

import re

import pytest

from harness import hosting

pytestmark = pytest.mark.usefixtures("machine")


def answers(script):
    """What the steps of a script say, by the names in its lines `step NAME`."""
    code, output = hosting.run(f"step() {{ printf '\\n@@ %s\\n' \"$1\"; }}\n{script}")
    assert code == 0, output
    parts = re.split(r"^@@ (.*)\n", output, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


CHECK = r"""
site=https://www.example.org/c%25%C3%BC/check.php key=a-key-of-sixteen-or-more
ask() { curl -sS -m 60 -d "key=$key" $site; }
there() { (cd /home/me && ls -A . www/c*); }
as_me 'mkdir "$HOME/www/c%ü"; cp ~/wavelog-worker/examples/hosting/check.php "$HOME/www/c%ü"'
step 'no key set'
ask; curl -sS -d key= $site
as_me "sed -i \"s/^const KEY = .*/const KEY = '$key';/\" ~/www/c*/check.php"
there >/tmp/before
step strangers
curl -sS $site; curl -sS -d key=wrong $site; curl -sS -d 'key[]=' $site; curl -sS "$site?key=$key"
step 'without the program'
ask
as_me 'cp ~/wavelog-worker/build/wavelog-worker-api ~/www/c*/'
there >/tmp/before
step 'gone away'
for after in 0.02 0.04 0.06 0.1; do curl -s -m $after -d "key=$key" $site || true; done
for i in $(seq 100); do there | cmp -s - /tmp/before && break; sleep 0.1; done
there | diff /tmp/before - && echo nothing left
step all
ask
for i in $(seq 100); do pgrep -u me program >/dev/null || break; sleep 0.1; done
pgrep -au me program || echo nothing runs
step 'no Upgrade'
echo 'RequestHeader unset Upgrade early' >/etc/apache2/conf-enabled/upgrade.conf; reload
ask
lacks fcgid proxy_http
step 'no FastCGI, no proxy'
ask
lacks cgid
off=ignore_user_abort,set_time_limit,error_reporting,php_uname,disk_free_space,escapeshellarg,stream_socket_server,posix_geteuid,fileowner,chmod
sed -i 's/^pm = /php_admin_value[disable_functions] = proc_open,exec,'$off'\n&/' /tmp/fpm.conf
kill -USR2 $(cat /run/php-me.pid)
for i in $(seq 100); do ask | grep -q 'NO  PHP may' && break; sleep 0.05; done
step nothing
ask
sed -i 's/AllowOverride All/AllowOverride None/' /etc/apache2/sites-available/host.conf; reload
step 'no .htaccess'
ask
step end
there | diff /tmp/before - && echo nothing left
"""

CHECKED = {
    "no key set": ("Put a key",),
    "without the program": ("yes a program that is copied there runs", r"\?   wavelog-worker-api itself",
                            "yes FastCGI .*the module is there"),
    "gone away": ("nothing left",),
    "all": (r"yes PHP 8", "yes the curl", "outside the site .*: /home/me\n", "yes wavelog-worker-api runs here: .* 0.1",
            r"yes CGI programs \(as you\)", r"yes FastCGI \(mod_fcgid\)\n", "to a UNIX socket\n.*yes .* at once\n.*yes .*WebSockets",
            'recipe "Proxy and FastCGI"', "by WebSocket, over a UNIX socket", "delete this file and wavelog-worker-api",
            "nothing runs"),
    "no Upgrade": ("yes     answers that go on.*\n.*NO      WebSockets", "as a stream, over a UNIX socket"),
    "no FastCGI, no proxy": ("NO  FastCGI", "NO  a proxy.*UNIX socket", "NO  a proxy.*127.0.0.1", 'recipe "Proxy and CGI"',
                             "Browsers poll"),
    "nothing": (r"\?   functions that are switched off.*\n.* php_uname ", "NO  PHP may start programs", "NO  CGI", "cannot run wavelog-worker"),
    "no .htaccess": ("NO  .htaccess", "yes a PHP file gets the path"),
    "end": ("nothing left",),
}  # fmt: skip


def test_check_php_says_what_a_host_can_do_and_leaves_nothing_behind():
    said = answers(CHECK)
    for step, words in CHECKED.items():
        for each in words:
            assert re.search(each, said[step]), f"{each!r} is not said at {step!r}:\n{said[step]}"
    assert set(said["no key set"].split("\n")) == {"<p>Put a key of 16 characters or more into this file first: see its first lines.", ""}
    assert re.findall(r".*\b(?:Warning|Notice|Deprecated|Fatal error)\b.*", "".join(said.values())) == []
    assert said["strangers"].strip().count("<form") == 4 and not re.search("home|PHP|Apache", said["strangers"])


# `install NAME ARGUMENTS` with what everything needs; `watched ... install ...` while numbers are published.
INSTALL = r"""
installer=/home/me/wavelog-worker/examples/hosting/install.sh
secret() { sed -n 's/^worker_secret: "\(.*\)"/\1/p' /home/me/worker/config.yaml; }
install() { runuser -u me -- ${shell:-} $installer "$@" </dev/null; }
watched()
{
	PYTHONPATH=/home/me/wavelog-worker/tests/e2e /usr/bin/python3 -B -m harness.witness https://www.example.org/worker \
		"$(secret)" ${api:-} -- "$@"
}
now() { install; watched sleep 0.3; }
again() { watched runuser -u me -- ${shell:-} $installer </dev/null; }
as_me 'mkdir -p ~/www/worker; printf "# mine\nAddType text/plain .mine\nRewriteEngine On\nRewriteRule ^internal/busy$ - [R=503,L]\n" >~/www/worker/.htaccess; echo mine >~/www/worker/my.mine
	mkdir ~/empty; touch ~/my.new; mkdir ~/www/worker/probe-my-own-measuring; echo mine >~/www/worker/probe-my-own-measuring/there.txt; ln -s www ~/html'
cp -a /home/me/www /tmp/before
step refused
for arguments in --uninstall '' '--web-root /nowhere' '--web-root /home/me/www --url www.example.org' \
	'--web-root /home/me --url https://www.example.org' '--web-root /home/me/www --url https://www.example.org/else' \
	'--web-root /home/me/www --url https://www.example.org --dir /home/me/www/in' \
	'--web-root /home/me/www --url https://www.example.org --dir /home/me/html/in' \
	'--web-root /home/me/html --url https://www.example.org --dir /home/me/www/in' \
	'--web-root /home/me/www --url https://www.example.org --prefix ../up' '--what' \
	'--web-root /home/me/www --url https://www.example.org --dir /home/me' '--web-root /home/me/empty --url https://www.example.org'; do
	! install $arguments || echo "NOT REFUSED: $arguments"
done
stat -c '%a %n' /home/me; ls -A /home/me/empty; ls /home/me/my.new; rmdir /home/me/empty
install --uninstall
install --uninstall --purge
ls /home/me/worker || echo gone
diff -r /tmp/before /home/me/www && echo unchanged
step new
shell='busybox sh' install --web-root /home/me/www --url https://www.example.org/
(cd /home/me/worker && stat -c '%a %U %n' . gateway.sock config.yaml state wavelog.php)
cat /home/me/worker/wavelog.php
head -n 2 /home/me/www/worker/.htaccess
grep -l 'WavelogWorker = { subscribe }' /home/me/www/worker/client-socket.js
grep -o '^[^#]*ask() {.* /[a-z/]*config.yaml' /home/me/www/worker/demo.html
curl -sS -d '{}' -o /dev/null -w 'what Apache itself refuses: %{http_code}\n' https://www.example.org/worker/internal/busy
step again
cp -a /home/me/worker/config.yaml /tmp/config
again
cmp /home/me/worker/config.yaml /tmp/config && echo the same configuration
install --prefix other || ls -d /home/me/www/other || echo nowhere else
step upgrade
for program in api gateway; do printf x >>/home/me/wavelog-worker/build/wavelog-worker-$program; done
again
gateways() { ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n 's/.* -> \(.*wavelog-worker-gateway\)/\1/p'; }
for i in $(seq 100); do gateways | grep -q deleted || break; sleep 0.1; done
gateways
step 'no pid'
sed -i 's/^gateway_autostart: true/gateway_autostart: false/' /home/me/worker/config.yaml
: >/home/me/worker/state/gateway.lock
printf x >>/home/me/wavelog-worker/build/wavelog-worker-api
install || true
sed -i 's/^gateway_autostart: false/gateway_autostart: true/' /home/me/worker/config.yaml
step interrupted
for signal in KILL INT TERM HUP; do
	for after in 0.15 0.4; do
		echo "$signal after $after s"
		timeout -s $signal $after setpriv --reuid=me --regid=me --init-groups env HOME=/home/me $installer </dev/null >/dev/null || true
	done
done
ls -A /home/me/www/worker /home/me/worker | grep -e probe- -e new | grep -v measuring || true
step 'no Upgrade'
echo 'RequestHeader unset Upgrade early' >/etc/apache2/conf-enabled/upgrade.conf
reload
again
step 'no FastCGI, no proxy'
lacks fcgid proxy_http
printf 'event_retention: 2h' >>/home/me/worker/config.yaml
now
step 'no CGI'
lacks cgid
now
step 'no .htaccess'
sed -i 's/AllowOverride All/AllowOverride None/' /etc/apache2/sites-available/host.conf; reload
api=https://www.example.org/worker/worker.php now
step 'all again'
sed -i 's/AllowOverride None/AllowOverride All/' /etc/apache2/sites-available/host.conf; rm /etc/apache2/conf-enabled/upgrade.conf
has fcgid proxy_http cgid
now
step 'back end'
for path in 'ws upgrade=websocket' 'stream flushpackets=on'; do
	echo "ProxyPass /worker/${path% *} http://127.0.0.1:9000/worker/$path"
done >/etc/apache2/conf-enabled/backend.conf
reload
# Somebody polls while the configuration is being replaced.
mkdir /tmp/slow
cat >/tmp/slow/mv <<'END'
#!/bin/sh
case $* in
*/config.yaml)
	stat -c '%a %n' /home/me/worker/*.new
	for i in 1 2 3 4; do curl -sS https://www.example.org/worker/readyz; sleep 0.2; done
	;;
esac
exec /bin/mv "$@"
END
chmod 755 /tmp/slow/mv
PATH=/tmp/slow:$PATH install --backend 9000
watched sleep 0.3
sed -n '/^ws_/p' /home/me/worker/config.yaml
grep '\[P' /home/me/www/worker/.htaccess || echo no proxy of ours
echo 'RequestHeader unset Upgrade early' >/etc/apache2/conf-enabled/upgrade.conf; reload
now
rm /etc/apache2/conf-enabled/upgrade.conf; reload
install --backend 0
sed -n '/^ws_/p' /home/me/worker/config.yaml
step nginx
cat >/etc/nginx/host.conf <<'END'
user www-data;
error_log /var/log/nginx/host.log;
events { }
http {
	server {
		listen 8443 ssl;
		root /home/me/www;
		ssl_certificate /etc/ssl/certs/worker.example.org.pem;
		ssl_certificate_key /etc/ssl/private/worker.example.org.key;
		location ~ \.php$ {
			include /etc/nginx/snippets/fastcgi-php.conf;
			fastcgi_pass unix:/run/php-me.sock;
		}
		location = /worker/ws {
			proxy_pass http://127.0.0.1:9000;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
		}
	}
}
END
nginx -c /etc/nginx/host.conf
install --url https://www.example.org:8443 --backend 9000
php=https://www.example.org:8443/worker/worker.php
curl -sS -d '{"topic":"a&b?c"}' -H "X-Worker-Secret: $(secret)" "$php?/internal/register" -w '%{http_code}\n'
curl -sS -d '{"type":"auth","last_event_id":null}' -H 'Content-Type: text/plain' "$php?/poll&topic=a%26b%3Fc"
curl -sS -o /dev/null -w '%{http_code}\n' "$php?/etc/passwd"
step uninstall
install --uninstall
ls -A /home/me/worker; ls -l /proc/[0-9]*/exe 2>/dev/null | grep wavelog || echo nothing runs
diff -r /tmp/before /home/me/www && echo as before
install --uninstall --purge
ls /home/me/worker || echo gone
printf '%s\n' /home/me/www https://www.example.org a-b | script -qec "runuser -u me -- $installer" /dev/null
grep "'/worker/\|'/a-b/" /home/me/www/a-b/demo.html
"""

INSTALLED = {
    "refused": ("nothing was installed", "is not a folder", "must begin with https", "does not show the files", "cannot be reached|does not show",
                "in the web root", "letters, digits, - and _", "usage:", "unchanged",
                "(?s)in the web root.*in the web root.*in the web root", "there are other things in /home/me:",
                "^755 /home/me\n/home/me/my.new\nkept: .*\nremoved\nremoved\nls: .*\ngone\nunchanged"),
    "new": ("by FastCGI", "browsers use WebSockets, by unix:/home/me/worker/gateway.sock", "^711 me .$", "^666 me gateway.sock",
            "600 me .*config.yaml", "700 me .*state", "600 me .*wavelog.php", "should the host take that away, by CGI, else by worker.php", r"worker_urls'\] = \['https://www.example.org/worker'\]",
            "worker_client_url'\\] = 'wss://www.example.org/worker'", "# mine\nAddType", "/client-socket.js$",
            "ask\\(\\) { sed .* /home/me/worker/config.yaml", "^what Apache itself refuses: 503$"),
    "again": ("by FastCGI", "WebSockets", "each once and in order by websocket\n", "the same configuration",
              "installed in /home/me/www/worker: --uninstall first", "^nowhere else"),
    "upgrade": ("each once and in order by websocket\n", "^/home/me/worker/wavelog-worker-gateway$"),
    "no pid": ("no gateway of this folder was running", "installed in"),
    "no Upgrade": ("by FastCGI", "use streams", "each once and in order by stream\n", "<script src="),
    "no FastCGI, no proxy": ("API by CGI", "browsers poll", "each once and in order by poll\n"),
    "no CGI": ("API by worker.php", "browsers poll", "each once and in order by poll"),
    "no .htaccess": ("API by worker.php, at https://www.example.org/worker/worker.php", "each once and in order by poll",
                     'data-poll-url="https://www.example.org/worker/worker.php/poll"'),
    "all again": ("by FastCGI", "browsers use WebSockets", "each once and in order by"),
    "back end": ("^600 .*/answer.new", "browsers use WebSockets, by port 9000\n", "each once and in order by websocket\n", 'ws_bind: "0.0.0.0"\nws_port: 9000',
                 "^no proxy of ours", "use streams, by port 9000:", "each once and in order by stream\n", "by unix:/home/me/worker/gateway.sock\n(.*\n)*ws_bind: .unix:"),
    "nginx": (r"API by worker.php, at https://www.example.org:8443/worker/worker.php\?", "WebSockets, by port 9000\n",
              '^200\n.*"auth_ok".*404$'),
    "uninstall": ("removed", "kept: /home/me/worker/config.yaml", "^nothing runs", "^as before", "^gone",
                  r"shows \[/home/me/html\]: ", "address, such as .*: ", r"wavelog-worker \[worker\]: ",
                  r"^const path = '/a-b/ws';\n\Z"),
}  # fmt: skip


def test_install_sh_finds_the_best_way_that_the_host_has_and_loses_no_push_on_the_way():
    said = answers(INSTALL)
    for step, words in INSTALLED.items():
        for each in words:
            assert re.search(each, said[step], re.M), f"{each!r} is not said at {step!r}:\n{said[step]}"
    assert "NOT REFUSED" not in said["refused"] and not re.search("probe-|new", said["interrupted"]), said
    everything = "".join(said.values())
    assert "BAD" not in everything and "Traceback" not in everything, everything
