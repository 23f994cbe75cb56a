"""A host of shared hosting, in a sandbox: Apache that runs the customer's programs as the customer (suexec) and has all that
a .htaccess file may ask for, PHP by php-fpm (with the environment that it has as a CGI program), and an account `me` that
is not root and has one site, www.example.org. PHP is kept to the account (open_basedir), what it makes is for that alone
(umask), and it shows whatever it finds wrong."""

from . import sandbox


def site(more=""):
    """Apache's configuration of the account's site, with `more` lines in its virtual host."""
    return f"""<IfModule mod_fcgid.c>
	FcgidMaxRequestLen 16777216
</IfModule>
<Directory /home/me/www>
	AllowOverride All
	Require all granted
</Directory>
<VirtualHost *:443>
	DocumentRoot /home/me/www
	SSLEngine on
	SSLCertificateFile /etc/ssl/certs/worker.example.org.pem
	SSLCertificateKeyFile /etc/ssl/private/worker.example.org.key
{more}</VirtualHost>
"""


AS_THE_CUSTOMER = r"""	SuexecUserGroup me me
	<FilesMatch "\.php$">
		SetHandler "proxy:unix:/run/php-me.sock|fcgi://localhost"
	</FilesMatch>
"""
HOST = rf"""
a2enmod -q ssl headers proxy proxy_http proxy_wstunnel proxy_fcgi fcgid cgid rewrite suexec >/dev/null
printf '/home\nwww\n' >/etc/apache2/suexec/www-data
cat >/etc/apache2/sites-available/host.conf <<'END'
{site(AS_THE_CUSTOMER)}END
a2ensite -q host >/dev/null
cat >/tmp/fpm.conf <<'END'
[global]
pid = /run/php-me.pid
error_log = /var/log/php-fpm.log
[me]
user = me
group = me
listen = /run/php-me.sock
listen.owner = www-data
pm = static
pm.max_children = 4
env[GATEWAY_INTERFACE] = CGI/1.1
env[REQUEST_METHOD] = POST
php_admin_value[open_basedir] = /home/me
php_admin_value[error_reporting] = -1
php_admin_flag[display_errors] = on
END
(umask 077; php-fpm8.2 -y /tmp/fpm.conf)
echo ServerName localhost >/etc/apache2/conf-enabled/name.conf
apachectl start
runs_apache() {{ curl -s -o /dev/null https://www.example.org/; }}
for i in $(seq 100); do runs_apache && break; sleep 0.05; done
# lacks MODULE...: the host as it would be without them; has MODULE...: and with them again. What PHP needs stays.
reload() {{ apachectl graceful; sleep 0.3; while ! runs_apache; do sleep 0.05; done; }}
lacks() {{ for name; do a2dismod -q -f "$name" >/dev/null; done; reload; }}
has() {{ a2enmod -q "$@" >/dev/null; reload; }}
as_me() {{ runuser -u me -- /bin/sh -euc "$1"; }}
"""


def run(script):
    return sandbox.run(sandbox.PREPARE + HOST + script)
