// What a Node service does with hot-shots over Unix datagrams. Arguments: the path of the socket, and how
// many of each to send. Prints the errors that the library saw, as JSON, when all is handed to the kernel.
const StatsD = require("hot-shots");

const [path, count] = [process.argv[2], Number(process.argv[3])];
const errors = [];
const client = new StatsD({
    protocol: "uds",
    path,
    globalTags: { env: "test" },
    maxBufferSize: 1400,
    bufferFlushInterval: 10,
    errorHandler: (error) => errors.push(String(error)),
});

for (let i = 0; i < count; i++) {
    client.increment("node.requests", 1, { code: "200" });
    client.timing("node.latency", i % 100, { path: "/v1" });
    client.distribution("node.size", i);
    client.timing("inference", 5, { model: "node-model" });
    client.set("node.users", `user-${i % 50}`, { plan: "free" });
    client.unique("node.ids", Math.floor(i / 2));
}
// Once: when the kernel's queue is full, the library tries a datagram again after its successors.
client.gauge("node.depth", count - 1);
client.close((error) => console.log(JSON.stringify(error ? [...errors, String(error)] : errors)));
