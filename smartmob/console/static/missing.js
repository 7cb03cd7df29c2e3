// The page of an address at which there is nothing.

import { live } from "./live.js";

live(() => {});
