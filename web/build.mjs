// One page that holds everything: `node build.mjs`, or `make web` at the top.
//
// MODEL=FOLDER takes the network of another export, student.onnx; its speaker encoder is
// speaker_encoder.onnx beside it, or the package's of that name, as in
// espnet_pse_kd/pretrained.py. --tests bundles the tests for node instead.

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGE = join(HERE, "../espnet_pse_kd");
const MODEL = resolve(process.env.MODEL || join(PACKAGE, "weights"));
const RUNTIME = join(HERE, "node_modules/onnxruntime-web");
const PAGE = join(HERE, "dist/index.html");
const TESTS = join(HERE, "build");

/** Scripts of workers and worklets, imported as text: "inline:./worker.ts". */
const inline = {
  name: "inline",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^inline:/ }, ({ path, resolveDir }) => ({
      path: join(resolveDir, path.slice("inline:".length)),
      namespace: "inline",
    }));
    onLoad({ filter: /.*/, namespace: "inline" }, async ({ path }) => ({
      // No modules: browsers refuse a module worker to a page that is opened as a file.
      contents: await bundle(path, { define: { "import.meta.url": "self.location.href" } }),
      loader: "text",
    }));
  },
};

/** One script with all that it imports. */
async function bundle(entry, options) {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    format: "iife",
    minify: true,
    write: false,
    target: "es2022",
    legalComments: "inline",
    plugins: [inline],
    ...options,
  });
  return result.outputFiles[0].text;
}

/** Bytes as an element that the page unpacks. */
function asset(name, path) {
  const packed = gzipSync(readFileSync(path), { level: 9 }).toString("base64");
  return `<script type="application/octet-stream" id="asset-${name}">${packed}</script>`;
}

/** Paths of student and speaker encoder, which belong together. */
async function networks() {
  const script = await bundle(join(HERE, "src/modelfile.ts"), { format: "esm" });
  const models = await import(`data:text/javascript,${encodeURIComponent(script)}`);
  const student = join(MODEL, "student.onnx");
  if (!existsSync(student)) {
    throw new Error(`${student}: no such file; MODEL names a folder that pse-kd export wrote`);
  }
  const needed = models.encoderOfStudent(models.readMetadata(readFileSync(student), "student"));
  const beside = join(MODEL, "speaker_encoder.onnx");
  const encoder = existsSync(beside) ? beside : join(PACKAGE, "speaker", `${needed.name}.onnx`);
  if (!existsSync(encoder)) {
    throw new Error(`${encoder}: no such file; put the speaker encoder of ${student} at ${beside}`);
  }
  models.checkPair(needed, models.encoderItself(models.readMetadata(readFileSync(encoder), "speaker_encoder")));
  return { student, encoder };
}

/** The licence of the runtime, which the page contains. */
function notices() {
  const { name, version, license } = JSON.parse(readFileSync(join(RUNTIME, "package.json")));
  return `Contains ${name} ${version}, Copyright (c) Microsoft Corporation, ${license} License.`;
}

async function buildPage() {
  const source = join(HERE, "src");
  const { student, encoder } = await networks();
  const script = await bundle(join(source, "main.ts"));
  const digest = createHash("sha256").update(script).digest("base64");
  const parts = {
    policy: [
      "default-src 'none'",
      "connect-src 'none'",
      // The worker is a blob, the audio thread's script a data URL.
      `script-src 'sha256-${digest}' blob: data: 'wasm-unsafe-eval'`,
      "worker-src blob:",
      "style-src 'unsafe-inline'",
      "img-src data:",
      "base-uri 'none'",
      "form-action 'none'",
    ].join("; "),
    style: readFileSync(join(source, "style.css"), "utf8"),
    assets: [
      asset("wasm", join(RUNTIME, "dist/ort-wasm-simd-threaded.wasm")),
      asset("student", student),
      asset("encoder", encoder),
    ].join("\n"),
    script,
    notices: notices(),
  };
  const template = readFileSync(join(source, "index.html"), "utf8");
  const page = template.replace(/{{(\w+)}}/g, (_, name) => parts[name]);
  await mkdir(dirname(PAGE), { recursive: true });
  await writeFile(PAGE, page);
  console.log(`${PAGE}: ${(page.length / 1e6).toFixed(1)} MB`);
}

/** The tests, and what tests/test_web.py calls, for node. */
async function buildTests() {
  await rm(TESTS, { recursive: true, force: true });
  const names = (await readdir(join(HERE, "tests"))).filter((name) => name.endsWith(".ts"));
  await build({
    entryPoints: names.map((name) => join(HERE, "tests", name)),
    outdir: TESTS,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    // Its own paths are relative to where it lies.
    external: ["onnxruntime-web"],
  });
}

await (process.argv.includes("--tests") ? buildTests() : buildPage());
