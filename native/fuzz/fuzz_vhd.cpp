// Converts whatever libFuzzer makes of VHD files.
#include "mutator.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return dvcr::fuzz::mutate_input("vpc", data, size, max_size, seed, LLVMFuzzerMutate);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dvcr::fuzz::check_image("vpc", {data, size});
  return 0;
}
