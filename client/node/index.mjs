// For `import`: the same module as for require(), so that a process has one of it.
import dwellModule from "./index.js";

export const { Dwell, dwell, LayerTimeoutError, CONSTITUTIONAL_HASH, VERSION } = dwellModule;
export default dwell;
