#include "import_memory.h"

#include <algorithm>
#include <thread>

namespace dvcr {

// As many as the cores can use, in any case.
ImportMemory::ImportMemory(unsigned full_imports)
    : most_(std::max(full_imports * kMostWindows, 2 * std::thread::hardware_concurrency())) {}

}  // namespace dvcr
