#!/bin/sh
# Packs into .device what a bare machine with a card lacks to run bench/gpu/run.sh without a network:
# Deno, Dawn (npm's webgpu) and what Vulkan's loader and NVIDIA's driver need of Debian (about 45 MB).
# To be run on Linux with xz, npm and apt, in the root of the repository.
set -eu
DAWN=webgpu@0.6.2
LIBRARIES="libvulkan1 libx11-6 libxext6 libxcb1 libxau6 libxdmcp6 libbsd0 libmd0
  libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2"
mkdir -p .device/dawn .device/lib

# npm's deno is a script that starts the program beside it.
deno=$(npm root --global)/deno/deno
[ -x "$deno" ] || deno=$(command -v deno)
[ -f .device/deno.xz ] || xz -T0 -6 --stdout "$deno" >.device/deno.xz

if [ ! -f .device/dawn/dawn.node.xz ]; then
  work=$(mktemp -d)
  (cd "$work" && npm pack --silent "$DAWN" >/dev/null && tar xzf webgpu-*.tgz)
  cp "$work/package/index.js" "$work/package/package.json" .device/dawn/
  xz -T0 -6 --stdout "$work/package/dist/linux-x64/dawn.node" >.device/dawn/dawn.node.xz
  rm -r "$work"
fi

for library in $LIBRARIES; do
  ls .device/lib/"$library"_*.deb >/dev/null 2>&1 || (cd .device/lib && apt-get download -q "$library")
done

git rev-parse HEAD >.device/commit
du -sh .device
echo "now, in a copy of this folder with .device in it, on the machine with the card:"
echo "  OUT=/where/results/go sh bench/gpu/run.sh"
