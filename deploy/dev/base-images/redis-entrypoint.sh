#!/bin/sh
# Of the stand-in for the redis image: options alone are redis-server's, root becomes user redis, and, as in
# the image, Redis answers other containers without a password.
set -eu
case ${1:-} in
-* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ]; then
    set -- "$@" --protected-mode no
    if [ "$(id -u)" = 0 ]; then
        chown -R redis:redis .
        exec setpriv --reuid redis --regid redis --init-groups -- "$@"
    fi
fi
exec "$@"
