# Makes the bucket, and a user of MinIO that may do nothing but use it. Runs in MinIO's client image, as often
# as one likes; compose.yaml runs it, too.
set -eu
secrets=${SECRETS:-/run/secrets}
secret() { cat "$secrets/$1"; }

attempts=0
until mc alias set store http://minio:9000 "$(secret store-root-user)" "$(secret store-root-password)" >/dev/null 2>&1; do
  attempts=$((attempts + 1))
  if [ $attempts = 60 ]; then
    echo "bucket: minio:9000 does not let the administrator of $secrets in" >&2
    exit 1
  fi
  sleep 2
done
mc mb --ignore-existing store/unitscope
mc admin user add store "$(secret access-key)" "$(secret secret-key)" >/dev/null
mc admin policy create store unitscope "${POLICY:-/config/policy.json}"
if ! answer=$(mc admin policy attach store unitscope --user "$(secret access-key)" 2>&1); then
  case $answer in
    *"already in effect"*) ;;
    *) echo "bucket: the policy cannot be attached" >&2; exit 1 ;;
  esac
fi
echo "bucket: unitscope is ready"
