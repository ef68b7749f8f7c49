#!/bin/sh
# build.sh MODEL.onnx: a folder `dist` that any server of files can serve, with onnxruntime-web from npm's registry.
set -e
[ -f "$1" ] || { echo "usage: $0 MODEL.onnx, as rekindle export --with-preprocessing writes it" >&2; exit 2; }
model=$(realpath "$1")
cd "$(dirname "$0")"
rm -rf dist
mkdir dist
npm pack --silent --pack-destination dist onnxruntime-web@1.30.0 >/dev/null
tar -xzf dist/*.tgz -C dist package/dist/ort.wasm.min.js package/dist/ort-wasm-simd-threaded.mjs package/dist/ort-wasm-simd-threaded.wasm
mv dist/package/dist/* dist/
rm -r dist/package dist/*.tgz
cp index.html classify.js dist/
cp "$model" dist/model.onnx
echo "python3 -m http.server --directory $(pwd)/dist 8000"
