/** `node --conditions=@flamboyance/source infra/dev/src/s3/main.ts`: the development S3 server as a command. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { startS3Server } from "./server.ts";

const usage = `A small S3-compatible server for development and tests.

  --folder <path>   where buckets and objects lie (.flamboyance/s3)
  --port <number>   9000; 0 for a free one
  --host <address>  127.0.0.1
  --help            this text

Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ("flamboyance" and "flamboyance" where they aren't set), region us-east-1.
Path style and bucket.localhost. Ends on Ctrl-C.`;

const { values } = parseArgs({
  options: {
    folder: { type: "string", default: ".flamboyance/s3" },
    port: { type: "string", default: "9000" },
    host: { type: "string", default: "127.0.0.1" },
    help: { type: "boolean", default: false },
  },
});

if (values.help) console.log(usage);
else {
  const server = await startS3Server({
    folder: resolve(values.folder),
    port: Number(values.port),
    host: values.host,
    accessKeyId: process.env["AWS_ACCESS_KEY_ID"] ?? "flamboyance",
    secretAccessKey: process.env["AWS_SECRET_ACCESS_KEY"] ?? "flamboyance",
  });
  console.log(`S3 at ${server.endpoint}, objects in ${resolve(values.folder)}`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void server.close());
}
