#!/usr/bin/env bash
# Builds the page into examples/web/dist: a network fine-tuned here, the program as WebAssembly, and the page around them.
# Serve that folder from anywhere, as by `python3 -m http.server --directory examples/web/dist`.
set -euo pipefail
cd "$(dirname "$0")"
dist="$PWD/dist"
target="${CARGO_TARGET_DIR:-$PWD/target}/web"

rustup target add wasm32-unknown-unknown >/dev/null 2>&1 || true

# The tool must be of the library's very version.
version=$(sed -n '/name = "wasm-bindgen"/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
if [ "$(wasm-bindgen --version 2>/dev/null)" = "wasm-bindgen $version" ]; then
  bindgen=wasm-bindgen
else
  bindgen="$target/tools/bin/wasm-bindgen"
  if [ "$("$bindgen" --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
    cargo install wasm-bindgen-cli --version "$version" --root "$target/tools" --target-dir "$target/tools"
  fi
fi

mkdir -p "$dist"
# Twice: for the processor, and for the graphics processor, which only browsers that have one load.
build() {
  CARGO_TARGET_DIR="$target" cargo build --release --target wasm32-unknown-unknown "${@:2}"
  "$bindgen" --target web --no-typescript --remove-name-section --out-dir "$dist" --out-name "$1" \
    "$target/wasm32-unknown-unknown/release/rekindle_web.wasm"
}
build rekindle_web
build rekindle_webgpu --no-default-features --features webgpu

# A model of your own: examples/web/build.sh ants-bees.safetensors
if [ $# -gt 0 ]; then
  cp "$1" "$dist/model.safetensors"
  mkdir -p "$dist/samples"
  [ -e "$dist/samples/list.json" ] || echo '[]' > "$dist/samples/list.json"
else
  (cd ../.. && cargo run --example drawn_model -- "$dist")
fi
cp page/index.html page/style.css page/page.js "$dist"
echo "built: $dist"
