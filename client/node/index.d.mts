// For `import`: the same types as for require().
export * from "./index.js";
import { dwell } from "./index.js";
export default dwell;
