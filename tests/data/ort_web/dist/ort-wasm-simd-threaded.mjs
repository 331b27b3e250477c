stands for ort-wasm-simd-threaded.mjs
