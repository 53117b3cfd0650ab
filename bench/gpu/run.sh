#!/bin/sh
# Measures the card of this machine in about five minutes, without a network, in the root of the
# repository. What bench/gpu/prepare.sh packed is used where it is there; else Deno has to be
# installed, and Dawn is left out. Every file is written as its figures are found, so that a run that
# is cut off keeps what it had.
#   OUT     where results go; bench/results unless given
#   PARTS   of deno, dawn and torch: those to run; all unless given
#   ONLY    sections of the part deno, after commas; SECONDS_OF_DENO how long it may take
#   ONLY_OF_DAWN, SECONDS_OF_DAWN  the same of the engine on Dawn
#   TORCH_ONLY  one table of PyTorch's
#   TINY=1  everything in miniature, on a software adapter too
#   FULL=1  then also every kernel on Dawn, and PyTorch's compiled steps: another four minutes
set -u
OUT=${OUT:-bench/results}
WORK=${WORK:-${TMPDIR:-/tmp}/gpu-kit}
mkdir -p "$OUT" "$WORK/bin" "$WORK/dawn/dist/linux-x64" "$WORK/packages"
began=$(date +%s)
say() { echo "== $(($(date +%s) - began)) s: $*"; }

say unpack
if [ -f .device/deno.xz ]; then
  python3 - "$WORK" <<'PYTHON'
import lzma, os, shutil, sys
work = sys.argv[1]
for packed, file in [
    (".device/deno.xz", f"{work}/bin/deno"),
    (".device/dawn/dawn.node.xz", f"{work}/dawn/dist/linux-x64/dawn.node"),
]:
    with lzma.open(packed) as source, open(file, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 22)
    os.chmod(file, 0o755)
PYTHON
  cp .device/dawn/index.js .device/dawn/package.json "$WORK/dawn/"
  for package in .device/lib/*.deb; do dpkg -x "$package" "$WORK/packages"; done
  # After the system's own libraries, which fit its driver.
  export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$WORK/packages/usr/lib/x86_64-linux-gnu"
  export PATH="$WORK/bin:$PATH"
fi

# Never OpenGL: without Vulkan there is nothing to measure.
export DENO_WEBGPU_BACKEND="${DENO_WEBGPU_BACKEND:-vulkan,metal,dx12}"
export NODEVICE_SELECT=1 NO_COLOR=1 DENO_NO_UPDATE_CHECK=1 XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$WORK}"
COMMIT=$(cat .device/commit 2>/dev/null || git rev-parse HEAD 2>/dev/null || echo unknown)
export COMMIT
if command -v nvidia-smi >/dev/null; then
  nvidia-smi --format=csv \
    --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit | tee "$OUT/card.csv"
fi
if command -v nvidia-smi >/dev/null; then
  nvidia-smi --format=csv,nounits -lms 500 \
    --query-gpu=clocks.sm,clocks.mem,power.draw,utilization.gpu >"$OUT/clocks.csv" &
  # shellcheck disable=SC2064
  trap "kill $!" EXIT
fi
deno --version | head -n 1
deno run -q --no-config --no-lock --allow-read=. --allow-write=.std tools/std.ts

# NVIDIA's driver in a container: its description may lie where Vulkan's loader does not look, or be
# missing, and its library may be that for X11 or that for none. The first that gives an adapter.
describe() { # LIBRARY: a description of a driver, written where it is printed
  echo "{\"file_format_version\":\"1.0.0\",\"ICD\":{\"library_path\":\"$1\",\"api_version\":\"1.3.0\"}}" \
    >"$WORK/$1.json" && echo "$WORK/$1.json"
}
finds_adapter() { # DESCRIPTION, or nothing for the loader's own choice
  [ -z "$1" ] || { [ -f "$1" ] && export VK_DRIVER_FILES="$1" VK_ICD_FILENAMES="$1"; } || return 1
  deno eval "Deno.exit(await navigator.gpu.requestAdapter() === null ? 1 : 0)"
}
found=
for driver in "" /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json \
  "$(describe libGLX_nvidia.so.0)" "$(describe libEGL_nvidia.so.0)"; do
  if finds_adapter "$driver"; then
    found=yes
    say "Vulkan's driver: ${driver:-the loader's choice}"
    break
  fi
done
if [ -z "$found" ]; then
  say "no Vulkan adapter: there is nothing to measure. What the loader says:"
  VK_LOADER_DEBUG=all deno eval "await navigator.gpu.requestAdapter()" 2>&1 | tail -n 60
  ldconfig -p 2>/dev/null | grep -iE "vulkan|nvidia|libEGL|libX11"
  find / -xdev -iname "*nvidia_icd*" 2>/dev/null
  ls -l /dev/nvidia* /dev/dri 2>/dev/null
  exit 1
fi

tiny=${TINY:+--tiny}
PARTS=${PARTS:-deno dawn torch}
runs() { case " $PARTS " in *" $1 "*) ;; *) return 1 ;; esac; }
# measure SECONDS ARGUMENTS...: the limit is for what hangs; the kit itself leaves out what is late.
measure() {
  seconds=$1
  shift
  timeout $((seconds + 15)) deno run -A --no-check bench/main.ts gpu --json --results "$OUT" \
    --seconds "$seconds" $tiny "$@" 2>&1
}

if runs deno; then
  say "the engine on Deno's WebGPU, and products by variant"
  measure "${SECONDS_OF_DENO:-165}" ${ONLY:+--only "$ONLY"}
fi
if runs dawn && [ -f "$WORK/dawn/index.js" ]; then
  say "the engine on Dawn, and tensor cores with its checks off"
  DAWN=$WORK/dawn/index.js measure "${SECONDS_OF_DAWN:-75}" --only "${ONLY_OF_DAWN:-steps,sampling}"
  DAWN=$WORK/dawn/index.js DAWN_UNCHECKED=1 measure 28 --only tensor-cores
fi
# The python3 that has it, which may not be the first.
python=
runs torch && for each in python3 /usr/bin/python3; do
  if [ -z "$python" ] && $each -c "import torch" 2>/dev/null; then python=$each; fi
done
say "PyTorch: ${python:-skipped, or no python3 has it}"
[ -z "$python" ] || timeout 75 "$python" bench/gpu/torch_steps.py "$OUT/torch.json" --seconds 60 \
  ${TORCH_ONLY:+--only "$TORCH_ONLY"} $tiny 2>&1
if [ -n "${FULL:-}" ]; then
  if [ -f "$WORK/dawn/index.js" ]; then
    say "every kernel on Dawn, and products by variant with its checks off"
    (
      OUT=$OUT/full
      mkdir -p "$OUT"
      DAWN=$WORK/dawn/index.js measure 90 --only conformance,ceilings,attention
      DAWN=$WORK/dawn/index.js DAWN_UNCHECKED=1 measure 50 --only sweep
    )
  fi
  say "PyTorch, compiled"
  [ -z "$python" ] || timeout 120 "$python" bench/gpu/torch_steps.py "$OUT/torch-compiled.json" \
    --seconds 100 --compile $tiny 2>&1
fi
say "done; results are in $OUT"
ls -l "$OUT"
