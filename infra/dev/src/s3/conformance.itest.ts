/**
 * What we take S3 to be, held against our own server and against a real one: a fact that only ours holds would be a fault of ours.
 * What versitygw's posix backend can't hold is named here with its reason, must fail there, and is printed as such.
 */
import { describe, expect, it } from "vitest";
import { accessFacts } from "./conformance/access.ts";
import { checksumFacts } from "./conformance/checksums.ts";
import { listingFacts } from "./conformance/listing.ts";
import { objectFacts } from "./conformance/objects.ts";
import { useServer, type Exceptions } from "./conformance/server-under-test.ts";
import { uploadFacts } from "./conformance/uploads.ts";
import { testServers, type TestServer } from "./test-servers.ts";

const exceptions: Record<TestServer["name"], Exceptions> = {
  development: {},
  versitygw: {
    "`x` and `x/y` are two objects": "its keys are paths of files, and a file is no folder",
    "segments of a key may be empty or dots": "its keys are paths of files, which the system tidies",
    "a quiet delete tells only what failed": "it tells the deleted ones too",
    "how a body was chunked on its way is no trait of its object": "it keeps aws-chunked as the object's encoding",
    "keys come percent-encoded where that is asked for": "it gives them as they are, and says so",
    "an unknown key is refused": "refused with 404 XAdminUserNotFound",
  },
};

describe.each(testServers())("S3 on $name", (testServer) => {
  const named = exceptions[testServer.name];
  const server = useServer(testServer, named);
  objectFacts(server);
  checksumFacts(server);
  listingFacts(server);
  uploadFacts(server);
  accessFacts(server);

  it("the exceptions name facts of this suite", () => {
    expect(Object.keys(named).filter((fact) => !server.facts.has(fact))).toEqual([]);
  });
});
