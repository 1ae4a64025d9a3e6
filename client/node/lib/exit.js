// What becomes of what waits when a process or a worker ends.
//
//  - The event loop has nothing to do: what waits is sent, within a second, and the process ends then.
//  - process.exit(), an error that nobody caught: what waits is handed to the kernel if there is a
//    connection and room, and a Goodbye with it. The rest is lost, and nothing tells the daemon of it.
//    Await close() where that matters.
//  - A signal that ends the process at once: all that waits is lost.
//
// The listeners are there only while a client is open.
"use strict";

const clients = new Set();

function onBeforeExit() {
    for (const client of clients) {
        client._beforeExit();
    }
}

function onExit() {
    for (const client of clients) {
        try {
            client._link.leave();
        } catch {
            // The process ends anyway.
        }
    }
}

function atExit(client) {
    if (clients.size === 0) {
        process.on("beforeExit", onBeforeExit);
        process.on("exit", onExit);
    }
    clients.add(client);
}

function atExitNoMore(client) {
    clients.delete(client);
    if (clients.size === 0) {
        process.removeListener("beforeExit", onBeforeExit);
        process.removeListener("exit", onExit);
    }
}

module.exports = { atExit, atExitNoMore };
