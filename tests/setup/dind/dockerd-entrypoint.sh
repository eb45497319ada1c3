#!/bin/sh
# Does what the entrypoint of the official docker:dind images does, in words of its own: with DOCKER_TLS_CERTDIR it makes
# the keys that are missing and all certificates, and listens on 2376; without, on 2375. Own server certificates without
# a CA's key are used as they are.
set -eu

key() { [ -s "$1/key.pem" ] || openssl genrsa -out "$1/key.pem" 4096; }

# signed DIRECTORY CN EXTENSION…: a certificate for the key in a directory, with the CA's beside it.
signed() {
  at="$1" name="$2"
  shift 2
  printf '%s\n' '[ extensions ]' "$@" >"$at/openssl.cnf"
  openssl req -new -key "$at/key.pem" -subj "/CN=docker:dind $name" -out "$at/csr.pem"
  openssl x509 -req -in "$at/csr.pem" -CA "$certs/ca/cert.pem" -CAkey "$certs/ca/key.pem" -CAcreateserial \
    -days 825 -extfile "$at/openssl.cnf" -extensions extensions -out "$at/cert.pem"
  cp "$certs/ca/cert.pem" "$at/ca.pem"
  openssl verify -CAfile "$at/ca.pem" "$at/cert.pem"
}

# The names and addresses that clients may use.
names() {
  ip -oneline address | awk '{ sub(/\/.*/, "", $4); print "IP:" $4 }'
  printf 'DNS:%s\n' docker localhost "$(hostname -s)" "$(hostname -f)"
  [ -z "${DOCKER_TLS_SAN:-}" ] || echo "$DOCKER_TLS_SAN"
}

certificates() {
  certs="$1"
  if [ -s "$certs/server/ca.pem" ] && [ -s "$certs/server/cert.pem" ] && [ -s "$certs/server/key.pem" ] && [ ! -s "$certs/ca/key.pem" ]; then
    openssl verify -CAfile "$certs/server/ca.pem" "$certs/server/cert.pem"
    return
  fi
  if [ -s "$certs/ca/key.pem" ] || [ ! -s "$certs/ca/cert.pem" ]; then
    mkdir -p "$certs/ca"
    key "$certs/ca"
    openssl req -new -x509 -key "$certs/ca/key.pem" -subj '/CN=docker:dind CA' -days 825 \
      -addext keyUsage=critical,digitalSignature,keyCertSign -out "$certs/ca/cert.pem"
  fi
  [ -s "$certs/ca/key.pem" ] || return 0
  mkdir -p "$certs/server" "$certs/client"
  key "$certs/server"
  signed "$certs/server" server 'extendedKeyUsage = serverAuth' "subjectAltName = $(names | sort -u | paste -sd,)"
  key "$certs/client"
  chmod 0644 "$certs/client/key.pem"
  signed "$certs/client" client 'extendedKeyUsage = clientAuth'
}

# With the second version of cgroups a group has either processes or groups below it.
make_room_for_groups() {
  [ -f /sys/fs/cgroup/cgroup.controllers ] || return 0
  mkdir -p /sys/fs/cgroup/init
  xargs -rn1 </sys/fs/cgroup/cgroup.procs >/sys/fs/cgroup/init/cgroup.procs || true
  sed 's/[^ ]\+/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
}

# Without a command, or with options alone, the daemon is meant.
if [ $# = 0 ] || [ "${1#-}" != "$1" ]; then
  if [ -n "${DOCKER_TLS_CERTDIR:-}" ]; then
    certificates "$DOCKER_TLS_CERTDIR"
    server="$DOCKER_TLS_CERTDIR/server"
    set -- --host=tcp://0.0.0.0:2376 \
      --tlsverify --tlscacert "$server/ca.pem" --tlscert "$server/cert.pem" --tlskey "$server/key.pem" "$@"
  else
    set -- --host=tcp://0.0.0.0:2375 "$@"
  fi
  set -- dockerd --host=unix:///var/run/docker.sock "$@"
fi

if [ "$1" = dockerd ]; then
  find /run -iname 'docker*.pid' -delete || true
  make_room_for_groups
  set -- docker-init -- "$@"
fi
exec "$@"
