"""A machine to throw away, in which commands of the documentation run word for word, as root: this machine's files with
an empty layer above them, processes and a network of its own. worker.example.org and www.example.org are its names; sudo
and systemctl are stand-ins. It is gone, with all that ran in it, when the script ends."""

import os
import subprocess
import tempfile
from pathlib import Path

from .process import wait_until
from .service import BUILD, REPO

SILENCE_S = 180  # as long as a script may say nothing; on a busy machine all of it takes longer than that, but goes on

# sh -c ENTER sh DIRECTORY SCRIPT
ENTER = """
mount -t tmpfs tmpfs "$1"
mkdir "$1/above" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/above,workdir=$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
ip link set lo up
exec chroot "$1/root" /bin/sh -c "$2"
"""

# The account, the sources with what has been built of them, the names, a certificate, and the stand-ins.
PREPARE = f"""
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/home/me
export CURL_CA_BUNDLE=/etc/ssl/certs/worker.example.org.pem
useradd --create-home me
mkdir -p /home/me/www /home/me/wavelog-worker/build
cd {REPO}
git_free=$(ls -A | grep -vxE '\\.git|build|run')
cp -a $git_free /home/me/wavelog-worker/
cp -a $(ls -d {BUILD}/api {BUILD}/gateway {BUILD}/shared {BUILD}/gen {BUILD}/client {BUILD}/*.a {BUILD}/wavelog-*) /home/me/wavelog-worker/build/
chown -R me: /home/me
chmod 755 /home/me
echo '127.0.0.1 localhost worker.example.org www.example.org' >/etc/hosts
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=worker.example.org \\
	-addext subjectAltName=DNS:worker.example.org,DNS:www.example.org \\
	-keyout /etc/ssl/private/worker.example.org.key -out /etc/ssl/certs/worker.example.org.pem 2>/dev/null
printf '#!/bin/sh\\nexec "$@"\\n' >/usr/local/sbin/sudo
printf '#!/bin/sh\\nexec cat /var/log/units.log\\n' >/usr/local/sbin/journalctl
cp {REPO}/tests/e2e/harness/systemctl.py /usr/local/sbin/systemctl
chmod 755 /usr/local/sbin/*
/usr/local/sbin/systemctl serve /var/log/units.log &
while [ ! -S /run/systemctl.sock ]; do sleep 0.05; done
cd /home/me/wavelog-worker
"""


def run(script):
    """The exit code of a shell script, and what it and its children said."""
    with tempfile.TemporaryDirectory(prefix="wlw-") as directory:
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", ENTER, "sh"]
        # A file, because what is left running may hold it open.
        with open(Path(directory).with_suffix(".out"), "w+", errors="replace") as output:
            os.unlink(output.name)
            process = subprocess.Popen([*command, directory, script], stdin=subprocess.DEVNULL, stdout=output, stderr=output)

            def said():
                output.seek(0)
                return output.read()

            try:
                wait_until(lambda: process.poll() is not None, lambda: f"it ends or goes on: {said()}", SILENCE_S,
                           progress=lambda: os.fstat(output.fileno()).st_size)  # fmt: skip
            finally:
                process.kill()
                process.wait()
            return process.returncode, said()


def why_not():
    """Why there can be none here; None when there can."""
    if os.geteuid() != 0:
        return "needs root"
    code, output = run("true")
    return f"needs leave to mount, below a root directory that is a mount point: {output.strip()}" if code else None
