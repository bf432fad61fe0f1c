#!/usr/bin/env bash
# Starts every image's entry point with --help and --check, as it will run: as user 10001, with a root that
# cannot be written to, and without a network. scripts/check_images.sh [TARGET...]
#
# With docker or podman in containers; with buildah, as root, in a chroot on a read-only mount of the image.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=("$@")
[ $# -gt 0 ] || targets=(gateway classifier linker triton worker)
tag=${TAG:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
variables=(UNITSCOPE_STORE_URL=directory:/tmp/store UNITSCOPE_BROKER_URL=filesystem:/tmp/broker OMP_NUM_THREADS=1)

in_container() { # TARGET ARGUMENT...: runs the image
  local target=$1
  shift
  "$runner" run --rm --read-only --user 10001:10001 --cap-drop ALL --security-opt no-new-privileges \
    --network none --tmpfs /tmp:exec,mode=1777 "${variables[@]/#/--env=}" "unitscope/$target:$tag" "$@"
}

configured() { # TARGET FIELD: a list of the image's configuration, one item a line
  buildah inspect --type image --format "{{range .OCIv1.Config.$2}}{{println .}}{{end}}" "unitscope/$1:$tag" |
    sed '/^$/d'
}

in_chroot() { # TARGET ARGUMENT...: the same without a container engine
  local target=$1 container status=0 entry environment
  shift
  mapfile -t entry < <(configured "$target" Entrypoint)
  mapfile -t environment < <(configured "$target" Env)
  container=$(buildah from --pull-never "unitscope/$target:$tag")
  unshare --mount --net --pid --fork bash -euc '
    root=$1; shift
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    mkdir -m 1777 "$root/dev/shm"
    for device in null zero random urandom; do
      touch "$root/dev/$device"
      mount --bind "/dev/$device" "$root/dev/$device"
    done
    mount -o remount,bind,ro "$root"
    exec chroot --userspec=10001:10001 --groups= "$root" env -i -C /tmp "$@"
  ' bash "$(buildah mount "$container")" "${environment[@]}" "${variables[@]}" "${entry[@]}" "$@" || status=$?
  buildah rm "$container" >/dev/null
  return $status
}

run=in_container
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then runner=docker
elif command -v podman >/dev/null; then runner=podman
elif command -v buildah >/dev/null && [ "$(id -u)" = 0 ]; then run=in_chroot
else
  echo "check_images: a running docker, podman, or buildah as root is needed" >&2
  exit 1
fi
for target in "${targets[@]}"; do
  for argument in --help --check; do
    if ! output=$($run "$target" "$argument" 2>&1); then
      printf 'check_images: unitscope/%s %s failed:\n%s\n' "$target" "$argument" "$output" >&2
      exit 1
    fi
    echo "unitscope/$target $argument: $(sed 's/[╭╮╰╯│─]//g; s/^ *//; s/ *$//; /^$/d' <<<"$output" | tail -n 1)"
  done
done
