#!/bin/sh
# Make a container image out of a few of the host's own programs: no image can be pulled, and a real one takes long.
# Usage: tiny_image.sh IMAGE
set -eu
programs="/bin/sh /bin/sleep /bin/cat /bin/ls /usr/bin/id /usr/bin/getent"
# getent looks names up with what it loads only then.
files=$(ls $programs $(ldd $programs | grep -o '/[^ :]*') /lib/*/libnss_dns.so.2 /lib/*/libnss_files.so.2 \
    /etc/nsswitch.conf /etc/os-release | sort -u)
tar --create --dereference --hard-dereference --absolute-names $files \
    | docker import --change 'CMD ["sleep", "infinity"]' - "$1"
