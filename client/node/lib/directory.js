// Finds where the daemon's socket may be, by the rules of the wire contract.
//
// What can fail: a directory that is not there, or one in /tmp that is somebody else's. It is left out.
"use strict";

const fs = require("node:fs");

const { PATH_BYTES } = require("./limits.js");

// Anybody can make a directory in /tmp, and listen there.
function isOurs(directory) {
    try {
        const status = fs.lstatSync(directory);
        return status.isDirectory() && status.uid === process.geteuid();
    } catch {
        return false;
    }
}

// The paths to try, one after the other, given the directory of the options or undefined.
function socketPaths(directory, environment = process.env) {
    const said = directory || environment.DWELL_DIR;
    let candidates;
    if (said) {
        candidates = [said];
    } else {
        candidates = ["/run/dwell"];
        if (environment.XDG_RUNTIME_DIR) {
            candidates.unshift(`${environment.XDG_RUNTIME_DIR}/dwell`);
        }
        const own = `/tmp/dwell-${process.geteuid()}`;
        if (isOurs(own)) {
            candidates.push(own);
        }
    }
    // Some versions of Node cut a path that is too long, and connect to another one.
    return candidates
        .map((candidate) => `${candidate}/ingest.sock`)
        .filter((path) => Buffer.byteLength(path) <= PATH_BYTES && !path.includes("\0"));
}

module.exports = { socketPaths };
