#!/usr/bin/env bash
# Makes stand-ins for the base images, for machines without a registry: the Dockerfile and docker-compose.yml
# find them under the names that they ask for. Where a registry is reachable, none of this is needed.
#
#   base-images.sh           makes those that are missing
#   base-images.sh --again   makes all of them, in place of what has their names
#
# Everything comes from Debian's packages, but for the Rust toolchain, which is this machine's own. The
# images behave like those whose names they bear as far as this project uses them: programs, users, folders,
# the environment of their entrypoints. They are for trying things out, never for production.
#
# Needs root, docker, debootstrap, and Rust of the version in deploy/Dockerfile.
set -euo pipefail

suite=bookworm
debian_image=debian:bookworm-slim
rust_image=rust:1.95-bookworm
redis_image=redis:7.0-bookworm
postgres_image=postgres:15-bookworm

# How long one step (a bootstrap, a build) may take.
step_timeout=20m

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

say() { echo "base-images: $*"; }
die() { echo "base-images: $*" >&2; exit 1; }

again=no
case ${1:-} in
'') ;;
--again) again=yes ;;
*) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2 && exit 2 ;;
esac

((EUID == 0)) || die "debootstrap needs root"
for tool in docker debootstrap rustc tar; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
done
docker info >/dev/null 2>&1 || die "the Docker daemon does not answer"

scratch=$(mktemp -d /var/tmp/base-images.XXXXXX)
trap 'rm -rf "$scratch"' EXIT

# missing IMAGE: whether it is to be made.
missing() {
    [[ $again == yes ]] || ! docker image inspect "$1" >/dev/null 2>&1
}

make_debian() {
    local root=$scratch/debian
    timeout "$step_timeout" debootstrap --variant=minbase "$suite" "$root" >"$scratch/debootstrap.log" 2>&1 ||
        { tail -n 20 "$scratch/debootstrap.log" >&2; die "debootstrap failed"; }
    # What the slim variants leave out, too.
    rm -rf "$root"/usr/share/{doc,man,info,locale,lintian} "$root"/var/lib/apt/lists/* \
        "$root"/var/cache/apt/{archives/*.deb,*.bin} "$root"/var/log/*.log
    tar -C "$root" --numeric-owner --one-file-system -c . |
        docker import --change 'CMD ["bash"]' - "$debian_image" >/dev/null
    rm -rf "$root"
}

# build IMAGE FOLDER: the build's packages come through the network of this machine, which may have name
# servers that a container's own network cannot reach.
build() {
    DOCKER_BUILDKIT=1 timeout "$step_timeout" "$docker_build" build --quiet --network host --tag "$1" "$2" >/dev/null ||
        die "$1 could not be made"
}

# A docker command whose BuildKit plugin is missing cannot use the BuildKit that the daemon has; Debian's can.
docker_build=docker
if ! docker buildx version >/dev/null 2>&1 && [[ -x /usr/bin/docker ]]; then docker_build=/usr/bin/docker; fi

# The toolchain without its documentation, and this machine's certificates: a build behind a proxy that
# inspects TLS trusts what this machine trusts.
make_rust() {
    local context=$scratch/rust version
    version=$(rustc --version | cut -d ' ' -f 2)
    [[ $version == "${rust_image//[!0-9.]/}".* ]] || die "$rust_image is asked for, this is Rust $version"
    mkdir -p "$context/toolchain"
    tar -C "$(rustc --print sysroot)" --exclude=./share -c . | tar -C "$context/toolchain" -x
    cp /etc/ssl/certs/ca-certificates.crt "$context/"
    cat >"$context/Dockerfile" <<-END
	FROM $debian_image
	RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates gcc g++ libc6-dev make \\
	    && rm -rf /var/lib/apt/lists/*
	COPY ca-certificates.crt /etc/ssl/certs/
	COPY toolchain /usr/local/rustup/toolchain
	ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/rustup/toolchain/bin:\$PATH
	END
    build "$rust_image" "$context"
    rm -rf "$context"
}

make_redis() {
    local context=$scratch/redis
    mkdir -p "$context"
    cp "$here/base-images/redis-entrypoint.sh" "$context/"
    cat >"$context/Dockerfile" <<-END
	FROM $debian_image
	RUN groupadd --system --gid 999 redis && useradd --system --gid redis --uid 999 redis \\
	    && apt-get update && apt-get install --yes --no-install-recommends redis-server \\
	    && rm -rf /var/lib/apt/lists/* && install -d -o redis -g redis /data
	COPY redis-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
	VOLUME /data
	WORKDIR /data
	EXPOSE 6379
	ENTRYPOINT ["docker-entrypoint.sh"]
	CMD ["redis-server"]
	END
    build "$redis_image" "$context"
}

make_postgres() {
    local context=$scratch/postgres
    mkdir -p "$context"
    cp "$here/base-images/postgres-entrypoint.sh" "$context/"
    cat >"$context/Dockerfile" <<-END
	FROM $debian_image
	ENV PATH=\$PATH:/usr/lib/postgresql/15/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
	RUN groupadd --system --gid 999 postgres \\
	    && useradd --system --gid postgres --uid 999 --home-dir /var/lib/postgresql postgres \\
	    && apt-get update && apt-get install --yes --no-install-recommends postgresql-common \\
	    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \\
	    && apt-get install --yes --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/* \\
	    && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql/data /var/run/postgresql
	COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
	VOLUME /var/lib/postgresql/data
	EXPOSE 5432
	STOPSIGNAL SIGINT
	ENTRYPOINT ["docker-entrypoint.sh"]
	CMD ["postgres"]
	END
    build "$postgres_image" "$context"
}

for name in debian rust redis postgres; do
    variable=${name}_image
    if missing "${!variable}"; then
        say "making ${!variable}"
        "make_$name"
    else
        say "${!variable} is here"
    fi
done
