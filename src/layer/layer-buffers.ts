/**
 * Layer bytes on their way from the core to a destination: the sizes that depend on each other.
 *
 *   core --> buffers of 1 MiB --> gathered --> one request of 8 MiB --> acknowledged: its buffers are free again
 */

/** Bytes of one buffer. */
export const LAYER_BUFFER_BYTES = 1 << 20;

/** Bytes of one request to a registry. */
export const REQUEST_BYTES = 8 << 20;

const BUFFERS_OF_A_REQUEST = REQUEST_BYTES / LAYER_BUFFER_BYTES;

/** Of one import, with memory to spare: a request under way, one that fills, one that is hashed. */
export const MOST_LAYER_BUFFERS = 3 * BUFFERS_OF_A_REQUEST;

/** Of one of many imports: a request under way, half of one that fills. */
export const LEAST_LAYER_BUFFERS = 1.5 * BUFFERS_OF_A_REQUEST;

/** Chunks of one request at most: with more, an import that has the least would wait for buffers that wait for it. */
export const REQUEST_CHUNKS = LEAST_LAYER_BUFFERS;
