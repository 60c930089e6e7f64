// A cluster of a qcow2 image, packed.
#pragma once

#include "../bytes.h"

namespace dvcr {

/// Packs a cluster with raw deflate into `room`; returns the bytes used, 0 where it does not fit. Any thread.
size_t deflate_cluster(Bytes plain, MutableBytes room);
/// As deflate_cluster(), one zstd frame.
size_t zstd_cluster(Bytes plain, MutableBytes room);

}  // namespace dvcr
