// A glance at the end of a streamOptimized VMDK, where the origin can be read at any place: do its grains ascend?
#pragma once

#include <optional>

#include "../byte_source.h"
#include "vmdk_header.h"

namespace dvcr {

/// The footer of the file when its tables say that its grains are not in the order of the disk, so that only the
/// tables lead through it. Nothing when they ascend, and when the end is damaged: reading on finds out why. Consumes
/// nothing of the stream. Throws like check_vmdk_footer().
std::optional<VmdkHeader> out_of_order_footer(RangeReader& file, const VmdkHeader& header, const Limits& limits);

}  // namespace dvcr
