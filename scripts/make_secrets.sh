#!/usr/bin/env bash
# Draws every secret of an installation into a new folder: scripts/make_secrets.sh FOLDER
#
# For compose.yaml and k8s/ (see docs/lab.md). Keys and passwords of store and broker, one token of the job
# API, and an authority of your own with a certificate for each service, good for 825 days. Needs openssl.
#
#   NAMES="unitscope.lab.example 192.0.2.7" scripts/make_secrets.sh secrets   # the gateway's further names
set -euo pipefail
folder=${1:-}
if [ -z "$folder" ] || [ $# -gt 1 ]; then
  echo "usage: scripts/make_secrets.sh FOLDER" >&2
  exit 2
fi
if [ -e "$folder" ]; then
  echo "make_secrets: $folder exists; nothing was changed. Name a new folder, or move that one away" >&2
  exit 1
fi
command -v openssl >/dev/null || { echo "make_secrets: openssl is not installed" >&2; exit 1; }
umask 077
draft=$(mktemp -d "$(dirname "$folder")/.secrets-XXXXXX")
trap 'rm -rf "$draft"' EXIT
cd "$draft"

draw() { openssl rand -hex "$1" | tr -d '\n'; }
draw 10 >store-root-user
draw 20 >store-root-password
draw 10 >access-key
draw 20 >secret-key
password=$(draw 20)
printf 'default_user = unitscope\ndefault_pass = %s\n' "$password" >rabbitmq.conf
printf 'amqp://unitscope:%s@rabbitmq:5672//' "$password" >broker-url

# As `unitscope tokens create` does: the token is yours, the gateway knows its hash.
printf 'ust_%s' "$(openssl rand -base64 32 | tr '+/' '-_' | tr -d '=\n')" >token
printf 'operator default %s\n' "$(openssl dgst -sha256 -r token | cut -d ' ' -f 1)" >tokens

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 3650 \
  -subj "/CN=UnitScope $(draw 4)" -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
for name in gateway classifier linker triton worker; do
  names="DNS:$name,DNS:$name.unitscope.svc,DNS:localhost,IP:127.0.0.1"
  if [ $name = gateway ]; then
    for further in ${NAMES:-}; do
      case $further in *[!0-9.]*) names+=",DNS:$further" ;; *) names+=",IP:$further" ;; esac
    done
  fi
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $name.key -out $name.csr \
    -subj "/CN=$name" 2>/dev/null
  # Good for clients, too: workers show theirs to the services, and probes that of their server.
  openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -out $name.crt -extfile <(
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE\n' "$names"
  ) 2>/dev/null
done
rm -f ./*.csr ./*.srl
# Compose mounts the files as they are, and containers run as other users: the folder keeps people out.
chmod 644 ./*
chmod 600 ca.key token
cd - >/dev/null
chmod 700 "$draft"
mv "$draft" "$folder"
trap - EXIT
echo "secrets are in $folder; your token is $folder/token, and ca.key signs further certificates: keep it elsewhere"
