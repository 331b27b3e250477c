// Runs ONNX files in onnxruntime-web; tests/runtimes.py starts it, runtimes_worker.py says how it
// is asked. Its argument is the folder of the package.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync, writeFileSync } from "node:fs";

const folder = process.argv[2];
const ort = createRequire(`${folder}/package.json`)("onnxruntime-web");
const ARRAYS = {
  float32: Float32Array,
  uint8: Uint8Array,
  int32: Int32Array,
  int64: BigInt64Array,
};
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

function read({ file, dtype, shape }) {
  const bytes = readFileSync(file);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  return new ort.Tensor(dtype, new ARRAYS[dtype](buffer), shape);
}

async function run({ file, inputs, folder }) {
  const session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
  try {
    const given = Object.fromEntries(Object.entries(inputs).map(([k, v]) => [k, read(v)]));
    const found = await session.run(given);
    return session.outputNames.map((name, place) => {
      const { data, type, dims } = found[name];
      const path = `${folder}/output${place}.bin`;
      writeFileSync(path, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      return [name, { file: path, dtype: type, shape: dims }];
    });
  } finally {
    await session.release();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { outputs: await run(JSON.parse(line)) };
  } catch (error) {
    answer = { error: String(error.message ?? error).replace(/\s+/g, " ") };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
