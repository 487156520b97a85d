#!/bin/sh
# Bootstrap a bare systemd host with sshd as a Docker image.
# Usage: bootstrap_host.sh SUITE PACKAGE,PACKAGE,... IMAGE
set -eu
suite=$1 packages=$2 image=$3

# The distribution's own sources only: a third party's repository is not what a fresh server has.
for sources in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/ubuntu.sources /etc/apt/sources.list; do
    [ -s "$sources" ] && break
done

export TMPDIR=/var/tmp # /tmp may be in memory
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Proxies and date checks of this machine's apt hold for the hosts too.
apt-config dump --format '%f "%v";%n' | grep -E '^Acquire::(http|https)::Proxy |^Acquire::Check-(Valid-Until|Date) ' \
    > "$work/apt.conf" || true

cat > "$work/customize.sh" <<'HOOK'
#!/bin/sh
set -eu
root=$1
# What a cloud image brings: one user who may become root, reached by key only.
chroot "$root" useradd --create-home --shell /bin/bash --groups sudo admin
echo 'admin ALL=(ALL) NOPASSWD:ALL' > "$root/etc/sudoers.d/admin"
chmod 0440 "$root/etc/sudoers.d/admin"
# Sources of cloud images may name lists of mirrors that lie beside them.
[ ! -d /etc/apt/mirrors ] || cp -a /etc/apt/mirrors "$root/etc/apt/"
# Each host makes its own host keys and machine id at first boot.
rm -f "$root"/etc/ssh/ssh_host_*_key*
: > "$root/etc/machine-id"
mkdir -p "$root/etc/systemd/system/ssh.service.d"
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
    > "$root/etc/systemd/system/ssh.service.d/host_keys.conf"
# Ubuntu's sshd waits for its socket: here it runs from the start, so that its keys are there to be learnt.
rm -f "$root"/etc/systemd/system/*/ssh.socket
# No consoles and no kernel modules in a container, and the boot must not wait for a network the engine made already.
for unit in console-getty.service getty@.service systemd-networkd-wait-online.service systemd-modules-load.service \
    ssh.socket; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/ssh.service "$root/etc/systemd/system/multi-user.target.wants/ssh.service"
HOOK
chmod +x "$work/customize.sh"

# The package lists stay: Ansible takes a fresh, empty folder of them for an up-to-date one.
mmdebstrap --quiet --skip=cleanup/apt/lists --variant=minbase --include="$packages" --aptopt="$work/apt.conf" \
    --customize-hook="$work/customize.sh" "$suite" "$work/host.tar" "$sources"
docker import --change 'CMD ["/sbin/init"]' "$work/host.tar" "$image" > /dev/null
